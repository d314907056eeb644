// Owns what the nodes of a target say that they have spent: processors and disk, from the metrics that they serve to anybody
// who asks, by the names that etcd and our core share.
//
// It must never hold up or fail a search: who does not answer within a moment is not seen.

import Measurement
import NIOCore
import NIOPosix
import Wire

/// What one node has counted since it started.
package struct NodeCounters: Sendable, Equatable {
  package var cpuSeconds: Double
  /// Nil where it does not say, as only a node of a core does.
  package var isLeader: Bool?
  /// How long its log's flushes took, together.
  package var flushSeconds: Double?
  package var processors: Int?

  /// Reads Prometheus' text. Nil where it does not say what was spent.
  package init?(metrics text: String) {
    var values: [Substring: Double] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      // Those that are looked for have no labels, so a name ends where its value begins.
      let parts = line.split(separator: " ")
      if parts.count >= 2, let value = Double(parts[1]) { values[parts[0]] = value }
    }
    guard let spent = values["process_cpu_seconds_total"] else { return nil }
    cpuSeconds = spent
    isLeader = values["etcd_server_is_leader"].map { $0 == 1 }
    flushSeconds = values["etcd_disk_wal_fsync_duration_seconds_sum"]
    let processors = values["portcullis_processors"] ?? values["go_sched_gomaxprocs_threads"]
    self.processors = processors.flatMap { $0 >= 1 && $0 < 1e6 ? Int($0) : nil }
  }
}

/// The nodes whose metrics are looked at.
struct TargetCounters: Sendable, Equatable {
  struct Reading: Sendable {
    var instant: UInt64
    var nodes: [NodeCounters?]
  }

  private static let patience = TimeAmount.seconds(2)

  let endpoints: [Endpoint]
  /// Those that commit: of writes the core's, since a gateway has no log.
  private let committing: [Endpoint]
  /// How many processors each has, where somebody said so.
  let processors: Int?

  init(of options: LoadOptions) throws(WorkloadError) {
    // For writes the endpoints are the gateway's, and the core's nodes are what has metrics of this kind.
    var endpoints: [Endpoint] = []
    for text in options.metrics ?? options.endpoints + (options.write?.core ?? []) {
      endpoints.append(try Endpoint(parsing: text))
    }
    self.endpoints = endpoints
    let isOfGateways = options.metrics == nil && options.write != nil
    committing = isOfGateways ? Array(endpoints.dropFirst(options.endpoints.count)) : endpoints
    processors = options.targetProcessors
  }

  func read() async -> Reading {
    let nodes = await Self.metrics(of: endpoints).map { $0.flatMap { NodeCounters(metrics: $0) } }
    return Reading(instant: MonotonicClock.nanoseconds(), nodes: nodes)
  }

  /// What each node has counted of its commits.
  func readCommits() async -> [CommitCounters?] {
    await Self.metrics(of: committing).map { $0.flatMap { CommitCounters(metrics: $0) } }
  }

  /// The text of each node, or nil where it did not answer.
  private static func metrics(of endpoints: [Endpoint]) async -> [String?] {
    await withTaskGroup(of: (Int, String?).self) { group in
      for (index, endpoint) in endpoints.enumerated() {
        group.addTask { (index, await metrics(of: endpoint)) }
      }
      var texts = [String?](repeating: nil, count: endpoints.count)
      for await (index, text) in group { texts[index] = text }
      return texts
    }
  }

  /// What each node was busy with between two readings. Without those that were not seen twice, or were started anew.
  func usage(from before: Reading, to after: Reading) -> [NodeUsage] {
    let seconds = Double(Swift.max(1, after.instant - before.instant)) / 1e9
    return endpoints.indices.compactMap { index in
      guard let first = before.nodes[index], let last = after.nodes[index], last.cpuSeconds >= first.cpuSeconds else {
        return nil
      }
      var usage = NodeUsage(endpoint: "\(endpoints[index])", cores: (last.cpuSeconds - first.cpuSeconds) / seconds)
      usage.role = last.isLeader.map { $0 ? .leader : .follower } ?? .server
      usage.processors =
        processors ?? last.processors ?? (endpoints[index].isThisMachine ? ProcessFacts.processorCount : nil)
      if let (from, to) = both(first.flushSeconds, last.flushSeconds) {
        usage.flushing = Swift.min(1, Swift.max(0, to - from) / seconds)
      }
      return usage
    }
  }

  private func both(_ one: Double?, _ other: Double?) -> (Double, Double)? {
    guard let one, let other else { return nil }
    return (one, other)
  }

  private static func metrics(of endpoint: Endpoint) async -> String? {
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let asked = eventLoop.flatSubmit {
      let answer = eventLoop.makePromise(of: HTTPAnswer.self)
      let opened = HTTPConnection.open(to: endpoint, on: eventLoop, tls: nil)
      // Also for the connecting: a machine that is off says nothing. What comes later is nobody's business any more.
      let timeout = eventLoop.assumeIsolated().scheduleTask(in: patience) {
        answer.fail(RPCStatus(.deadlineExceeded, "no metrics within \(patience)"))
        opened.whenSuccess { $0.close() }
      }
      opened.whenFailure { answer.fail($0) }
      opened.whenSuccess { connection in
        connection.get("/metrics") { result in
          timeout.cancel()
          connection.close()
          answer.completeWith(result.mapError { $0 as any Error })
        }
      }
      answer.futureResult.whenComplete { _ in timeout.cancel() }
      return answer.futureResult
    }
    guard let answer = try? await asked.get(), answer.status == 200 else { return nil }
    return String(buffer: answer.body)
  }
}

extension Endpoint {
  /// Whether it is sure to be where the generator runs.
  fileprivate var isThisMachine: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}
