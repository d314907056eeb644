// Tests of what is read of a target's metrics, and of a search that names the node which binds.

import Logging
import Measurement
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire
import Workloads

@Suite struct TargetCountersTests {
  @Test("the counters are found among all others, as etcd and our core write them")
  func parsing() throws {
    let text = """
      # HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
      # TYPE process_cpu_seconds_total counter
      process_cpu_seconds_total 12.5
      etcd_server_is_leader 1
      etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 7
      etcd_disk_wal_fsync_duration_seconds_sum 3.25
      go_sched_gomaxprocs_threads 8
      """
    let found = try #require(NodeCounters(metrics: text))
    #expect(found.cpuSeconds == 12.5 && found.isLeader == true && found.flushSeconds == 3.25)
    #expect(found.processors == 8)
    let plain = try #require(NodeCounters(metrics: "process_cpu_seconds_total 1e2\nportcullis_processors 2"))
    #expect(plain.cpuSeconds == 100 && plain.isLeader == nil && plain.flushSeconds == nil && plain.processors == 2)
  }

  @Test(
    "what is no metrics has no counters",
    arguments: ["", "404", "process_cpu_seconds_total", "process_cpu_seconds_total x"])
  func nothing(text: String) {
    #expect(NodeCounters(metrics: text) == nil)
  }

  @Test("a follower whose processors are busy is named; who serves no metrics is not seen", arguments: [true, false])
  func search(isSeen: Bool) async throws {
    // Each reading is a processor-second later than the one before, and readings are a run of 100 ms apart.
    let seconds = Atomic<Int>(0)
    let revision = Atomic<Int64>(0)
    let routes = RPCRoutes([
      RPCPath.KV.put: .unary { call, _ in
        let number = revision.add(1, ordering: .relaxed).newValue
        call.respond(Etcdserverpb_PutResponse.with { $0.header.revision = number })
      }
    ])
    let server = try await WireServer.start(
      host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, router: routes,
      http: { request, eventLoop in
        guard isSeen, request.path == "/metrics" else {
          return eventLoop.makeSucceededFuture(HTTPReply(status: 404, text: "nothing here"))
        }
        let spent = seconds.add(1, ordering: .relaxed).newValue
        let text = "process_cpu_seconds_total \(spent)\netcd_server_is_leader 0\nportcullis_processors 1\n"
        return eventLoop.makeSucceededFuture(HTTPReply(status: 200, text: text))
      },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    var options = LoadOptions()
    options.endpoints = ["127.0.0.1:\(server.localAddress.port ?? 0)"]
    options.shape = .open(process: .constant, ratePerSecond: 300, maxInFlight: 100)
    options.duration = .milliseconds(100)
    options.warmUp = .none
    options.budget = GeneratorBudget(
      alwaysAcceptedLagNanoseconds: .max, lagShareOfLatency: 1, threadShare: 1, skippedShare: 1)
    options.longestTrial = .milliseconds(200)
    // No rate holds it, so that the lowest at which it can be told is the edge.
    let result = try await findLimit(options, objective: LoadObjective(percentile: 50, latencyNanoseconds: 1))
    await server.shutdown(grace: .zero)
    let edge = try #require(result.trials.last)
    #expect(result.failsPerSecond == 125 && result.holdsPerSecond == nil && result.isComplete)
    #expect(result.trials.allSatisfy { $0.p50Nanoseconds != nil })
    guard isSeen else {
      #expect(edge.nodes == [])
      if case .processorsOf = result.binding { Issue.record("a node that was not seen cannot bind") }
      return
    }
    #expect(edge.nodes?.first?.role == .follower && edge.nodes?.first?.processors == 1)
    guard case .processorsOf(let node) = result.binding else {
      Issue.record("\(result.binding.debugDescription)")
      return
    }
    #expect(node.endpoint == options.endpoints[0] && node.cores > 1)
  }

  @Test("addresses of metrics and numbers of processors are checked before the search")
  func options() async {
    var bad = LoadOptions()
    bad.metrics = ["here:"]
    #expect(await refusal(of: bad)?.message.contains("\"here:\" is no endpoint") == true)
    bad.metrics = nil
    bad.targetProcessors = 0
    #expect(await refusal(of: bad)?.message.contains("0 processors of a node") == true)
  }
}
