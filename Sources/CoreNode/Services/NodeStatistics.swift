// What a node counts as it goes, for its metrics.

import NIOConcurrencyHelpers
import Protocol
import Wire

final class NodeStatistics: Sendable {
  struct Method: Sendable {
    let path: String
    let labels: [(String, String)]
    let tally: CallTally
  }

  let traffic = WireTraffic()
  /// The log's flushes.
  let flushes = LatencyBuckets()
  /// Where the time of this node's commits went.
  let commits = CommitFigures()
  private let methods = NIOLockedValueBox<[Method]>([])

  /// By method: gRPC's calls, and those that came as JSON, which are translated into them.
  var calls: [Method] { methods.withLockedValue { $0 } }

  /// The same methods, with their calls counted here. To be called once, with everything that is served.
  func counting(_ served: [String: RPCMethod]) -> [String: RPCMethod] {
    var (calls, counted): ([Method], [String: RPCMethod]) = ([], [:])
    for (path, method) in served {
      let parts = path.split(separator: "/")
      let type =
        switch method {
        case .unary: "unary"
        case .streaming: Self.answeringStreams.contains(path) ? "server_stream" : "bidi_stream"
        }
      let labels = [("grpc_method", String(parts[1])), ("grpc_service", String(parts[0])), ("grpc_type", type)]
      let tally = CallTally()
      calls.append(Method(path: path, labels: labels, tally: tally))
      counted[path] = tally.counting(method)
    }
    methods.withLockedValue { [calls] in $0 = calls }
    return counted
  }

  /// Streams whose caller sends one message.
  private static let answeringStreams = [RPCPath.Maintenance.snapshot, RPCPath.Election.observe, RPCPath.Health.watch]
}

/// How long something took, in etcd's buckets: from a millisecond on, each twice as long as the one before.
final class LatencyBuckets: Sendable {
  static let boundsSeconds: [Double] = (0..<14).map { 0.001 * Double(1 << $0) }

  struct Reading: Sendable {
    /// The last is for what took longer than the longest bound.
    var counts = [UInt64](repeating: 0, count: LatencyBuckets.boundsSeconds.count + 1)
    var sumSeconds = 0.0
  }

  private let state = NIOLockedValueBox(Reading())

  var reading: Reading { state.withLockedValue { $0 } }

  func add(nanoseconds: UInt64) {
    let seconds = Double(nanoseconds) / 1e9
    let bucket = Self.boundsSeconds.firstIndex { seconds <= $0 } ?? Self.boundsSeconds.count
    state.withLockedValue { state in
      state.counts[bucket] += 1
      state.sumSeconds += seconds
    }
  }
}
