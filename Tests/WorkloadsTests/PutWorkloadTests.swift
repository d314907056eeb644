// Tests of the put load against targets that behave, and of the options.

import Measurement
import Testing
import Workloads

@Suite struct PutWorkloadTests {
  private func options(_ server: PutServer, _ shape: LoadShape, connections: Int, total: UInt64) -> LoadOptions {
    var options = LoadOptions()
    options.endpoints = [server.endpoint]
    options.shape = shape
    options.connections = connections
    options.duration = nil
    options.totalOperations = total
    options.warmUp = .none
    return options
  }

  @Test("a closed loop makes exactly the operations that were asked for, and counts each once", arguments: [1, 2])
  func closedLoop(eventLoops: Int) async throws {
    try await withPutServer { server in
      var options = options(server, .closed(clients: 9), connections: 4, total: 2_001)
      options.eventLoops = eventLoops
      let result = try await runLoad(options)
      let figures = result.measured
      #expect(result.ending == .completed)
      #expect(result.warmUp.end == .skipped)
      #expect(figures.started == 2_001)
      #expect(figures.succeeded == 2_001)
      #expect(figures.failed == 0)
      #expect(figures.unanswered == 0)
      #expect(figures.answeredWithin >= 2_000, "the last answer is the end itself")
      #expect(figures.latencyFromSend.count == 2_001)
      #expect(figures.latencyFromIntendedStart.isEmpty, "nothing is due in a closed loop")
      #expect(figures.oracle.checked == 2_001)
      #expect(figures.oracle.violations == 0)
      #expect(figures.durationNanoseconds > 0)
      #expect(server.puts >= 2_001)
      #expect(result.target.version == "9.9.9")
      #expect(result.target.cluster == "cdf818194e3a8c32")
    }
  }

  @Test("an open loop counts from the intended start, which is never later than the send")
  func openLoop() async throws {
    try await withPutServer { server in
      let shape = LoadShape.open(process: .poisson, ratePerSecond: 4_000, maxInFlight: 10_000)
      let result = try await runLoad(options(server, shape, connections: 3, total: 1_000))
      let figures = result.measured
      #expect(result.ending == .completed)
      #expect(figures.started == 1_000)
      #expect(figures.succeeded == 1_000)
      #expect(figures.skipped == 0)
      #expect(figures.scheduleLag.count == 1_000)
      #expect(figures.latencyFromIntendedStart.count == 1_000)
      #expect(figures.latencyFromIntendedStart.mean >= figures.latencyFromSend.mean)
      let parts = figures.latencyFromSend.mean + figures.scheduleLag.mean
      #expect((figures.latencyFromIntendedStart.mean - parts).magnitude < 1, "the two parts make up the whole")
      // 1000 arrivals at 4000 a second take a quarter of a second; five deviations of their sum are 40 ms.
      #expect(figures.durationNanoseconds > 180_000_000)
    }
  }

  @Test("the warm-up is not in the measured figures")
  func warmUp() async throws {
    try await withPutServer { server in
      var options = options(server, .closed(clients: 2), connections: 1, total: 100)
      options.warmUp = .fixed(.milliseconds(60))
      let result = try await runLoad(options)
      #expect(result.warmUp.end == .fixed)
      #expect(result.warmUp.operations > 0)
      #expect(result.measured.started == 100)
      #expect(result.measured.latencyFromSend.count == 100)
      #expect(server.puts > 100)
    }
  }

  @Test("a run of a given length has that length")
  func duration() async throws {
    try await withPutServer { server in
      var options = options(server, .closed(clients: 1), connections: 1, total: 1)
      options.totalOperations = nil
      options.duration = .milliseconds(120)
      let result = try await runLoad(options)
      #expect(result.ending == .completed)
      #expect(result.measured.durationNanoseconds == 120_000_000)
      // How many it comes to depends on what else the machine does; each of them is accounted for.
      let figures = result.measured
      #expect(figures.succeeded + figures.failed + figures.unanswered == figures.started)
      #expect(figures.answeredWithin <= figures.succeeded)
      #expect(!result.timeline.isEmpty)
      #expect(result.generator.cpuNanoseconds > 0)
    }
  }

  @Test("the environment is in the result")
  func environment() async throws {
    try await withPutServer { server in
      let result = try await runLoad(options(server, .closed(clients: 1), connections: 1, total: 1))
      #expect(result.environment.processorCount > 0)
      #expect(result.environment.kernel?.isEmpty == false)
      #expect(result.environment.fileSystem?.mountPoint.hasPrefix("/") == true)
      #expect(result.configuration.seed == 1)
      #expect(result.startedAt.hasSuffix("Z"))
    }
  }

  @Test("progress tells of the measured part while it goes on")
  func progress() async throws {
    try await withPutServer { server in
      let (stream, continuation) = AsyncStream.makeStream(of: BenchProgress.self)
      let result = try await runLoad(
        options(server, .closed(clients: 1), connections: 1, total: 10), onProgress: { continuation.yield($0) })
      continuation.finish()
      var last: BenchProgress?
      for await progress in stream where progress.phase == .measuring { last = progress }
      #expect(last?.succeeded == result.measured.succeeded)
      #expect(last?.scenario == "put")
    }
  }
}

@Suite struct PutWorkloadOptionsTests {
  @Test(
    "an option that cannot work is refused before anything is opened, and the refusal says what would do",
    arguments: [
      "endpoints", "endpoint", "connections", "clients", "idle", "rate", "negative rate", "endless", "total",
      "duration",
      "key", "keys", "value",
    ])
  func refused(what: String) async {
    var options = LoadOptions()
    switch what {
    case "endpoints": options.endpoints = []
    case "endpoint": options.endpoints = ["a:1/x"]
    case "connections": options.connections = 0
    case "clients": options.shape = .closed(clients: 0)
    case "idle": (options.connections, options.shape) = (8, .closed(clients: 4))
    case "rate": options.shape = .open(process: .constant, ratePerSecond: .infinity, maxInFlight: 1)
    case "negative rate": options.shape = .open(process: .constant, ratePerSecond: -1, maxInFlight: 1)
    case "endless": (options.duration, options.totalOperations) = (nil, nil)
    case "total": options.totalOperations = 0
    case "duration": options.duration = .seconds(-1)
    case "key": options.keySizeBytes = 18
    case "keys": options.keyCount = 0
    default: options.valueSizeBytes = -1
    }
    let error = await refusal(of: options)
    #expect(error?.code == .badOptions)
    #expect(error?.message.isEmpty == false)
  }
}
