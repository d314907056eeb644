// Tests of the put load against targets that fail, lie, hang, die or are not there.

import Glibc
import Measurement
import Synchronization
import Testing
import Wire
import Workloads

@Suite struct PutWorkloadFailureTests {
  private func options(_ endpoint: String, clients: Int = 4, total: UInt64) -> LoadOptions {
    var options = LoadOptions()
    options.endpoints = [endpoint]
    options.shape = .closed(clients: clients)
    options.duration = nil
    options.totalOperations = total
    options.warmUp = .none
    return options
  }

  @Test("errors are counted by code and never appear as latency")
  func mixedErrors() async throws {
    let reply: @Sendable (Int64) -> PutReply = { number in
      number.isMultiple(of: 50)
        ? .error(RPCStatus(.resourceExhausted, "etcdserver: mvcc: database space exceeded")) : .revision(number)
    }
    try await withPutServer(reply: reply) { server in
      let figures = try await runLoad(options(server.endpoint, total: 400)).measured
      #expect(figures.started == 400)
      #expect(figures.failed == 8)
      #expect(figures.succeeded == 392)
      #expect(figures.latencyFromSend.count == 392)
      #expect(figures.oracle.checked == 392)
      #expect(
        figures.errors == [
          ErrorTally(
            code: 8, name: "RESOURCE_EXHAUSTED", count: 8, firstMessage: "etcdserver: mvcc: database space exceeded")
        ])
    }
  }

  @Test("a run without one success has failed")
  func onlyErrors() async throws {
    try await withPutServer(reply: { _ in .error(RPCStatus(.unavailable, "etcdserver: no leader")) }) { server in
      let result = try await runLoad(options(server.endpoint, total: 8))
      #expect(result.measured.failed == 8)
      #expect(result.measured.latencyFromSend.isEmpty)
      #expect(result.judgement.verdict == .failed)
      #expect(result.judgement.reasons.map(\.code) == ["no-success"])
    }
  }

  @Test("a revision that falls, stays or is missing fails the run", arguments: ["falls", "stays", "missing"])
  func wrongAnswers(how: String) async throws {
    let reply: @Sendable (Int64) -> PutReply = { number in
      guard number == 50 else { return .revision(number * 10) }
      switch how {
      case "falls": return .revision(1)
      case "stays": return .revision((number - 1) * 10)
      default: return .withoutHeader
      }
    }
    try await withPutServer(reply: reply) { server in
      let result = try await runLoad(options(server.endpoint, clients: 1, total: 100))
      #expect(result.measured.oracle.checked == 100)
      #expect(result.measured.oracle.violations == 1)
      #expect(result.judgement.verdict == .failed)
      #expect(result.judgement.reasons.first?.code == "wrong-answer")
      #expect(result.measured.oracle.firstViolation?.contains("490") == true, "it says what came before")
    }
  }

  @Test("calls that hang end by their timeout and count as failed")
  func hangs() async throws {
    try await withPutServer(reply: { _ in .none }) { server in
      var options = options(server.endpoint, total: 4)
      options.callTimeout = .milliseconds(50)
      let result = try await runLoad(options)
      #expect(result.measured.errors.map(\.name) == ["DEADLINE_EXCEEDED"])
      #expect(result.measured.failed == 4)
      #expect(result.measured.unanswered == 0)
    }
  }

  @Test("what is due beyond the bound on operations in flight is skipped, counted, and makes the run invalid")
  func skips() async throws {
    let reply: @Sendable (Int64) -> PutReply = { $0 <= 5 ? .revision($0) : .none }
    try await withPutServer(reply: reply) { server in
      var options = options(server.endpoint, total: 200)
      options.shape = .open(process: .constant, ratePerSecond: 20_000, maxInFlight: 10)
      options.callTimeout = .seconds(2)
      let result = try await runLoad(options)
      #expect(result.measured.started + result.measured.skipped == 200)
      #expect(result.measured.started <= 15)
      #expect(result.judgement.verdict == .invalid)
      #expect(result.judgement.reasons.contains { $0.code == "skipped" })
    }
  }

  @Test(
    "a target that dies in the middle leaves a result that says so and keeps what came before",
    arguments: [true, false])
  func targetDies(isOpen: Bool) async throws {
    let server = try await PutServer.start { .revision($0) }
    var options = options(server.endpoint, total: 100_000_000)
    if isOpen { options.shape = .open(process: .constant, ratePerSecond: 2_000, maxInFlight: 1_000) }
    options.reconnectPatience = .milliseconds(200)
    let isKilled = Atomic<Bool>(false)
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
    async let killed: Void = {
      for await _ in stream { break }
      await server.stop()
    }()
    let result = try await runLoad(options) { progress in
      guard progress.succeeded > 0 else { return }
      isKilled.store(true, ordering: .relaxed)
      continuation.yield()
    }
    await killed
    let wasKilled = isKilled.load(ordering: .relaxed)
    #expect(wasKilled)
    #expect(result.ending == .targetLost)
    #expect(result.judgement.verdict == .failed)
    #expect(result.measured.succeeded > 0)
    let figures = result.measured
    #expect(figures.started == figures.succeeded + figures.failed + figures.unanswered)
    #expect(figures.latencyFromSend.count == figures.succeeded)
  }

  @Test("a target that comes back is loaded on, and the run completes")
  func targetReturns() async throws {
    let first = try await PutServer.start { $0 <= 100 ? .revision($0) : .none }
    let port = first.port
    async let second: PutServer = {
      while first.puts < 100 { await Task.yield() }
      await first.stop()
      return try await PutServer.start(port: port) { .revision(1_000 + $0) }
    }()
    let result = try await runLoad(options(first.endpoint, clients: 2, total: 500))
    let server = try await second
    #expect(result.ending == .completed)
    #expect(result.measured.started == 500)
    #expect(result.measured.errors.map(\.name) == ["UNAVAILABLE"])
    #expect(result.measured.succeeded > 450)
    #expect(result.measured.oracle.violations == 0)
    await server.stop()
  }

  private static func bound() throws -> (descriptor: Int32, endpoint: String) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let outcome = withUnsafeMutablePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, size) == 0 && getsockname(descriptor, address, &size) == 0
      }
    }
    try #require(outcome, "no port can be bound: \(errno)")
    return (descriptor, "127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
  }

  @Test("a target that is not there is named, with what the system said")
  func unreachable() async throws {
    // A socket that has the port and does not listen: the port of a server that ended may be another's by now.
    let socket = try Self.bound()
    defer { close(socket.descriptor) }
    let error = await refusal(of: options(socket.endpoint, total: 1))
    #expect(error?.code == .unreachable)
    #expect(error?.message.contains(socket.endpoint) == true)
  }

  @Test("an interrupted run keeps what it has measured and says that it was interrupted")
  func interrupted() async throws {
    try await withPutServer { server in
      let options = options(server.endpoint, total: 100_000_000)
      let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
      let task = Task {
        try await runLoad(options) { if $0.succeeded > 0 { continuation.yield() } }
      }
      for await _ in stream { break }
      task.cancel()
      let result = try await task.value
      #expect(result.ending == .interrupted)
      #expect(result.measured.succeeded > 0)
      #expect(result.measured.latencyFromSend.count == result.measured.succeeded)
      #expect(result.judgement.verdict != .failed)
    }
  }

  @Test("an interruption during the warm-up ends the run without figures")
  func interruptedEarly() async throws {
    try await withPutServer { server in
      var options = options(server.endpoint, total: 10)
      options.warmUp = .fixed(.seconds(3_600))
      let task = Task { [options] in try await runLoad(options) }
      while server.puts == 0 { await Task.yield() }
      task.cancel()
      let result = try await task.value
      #expect(result.ending == .interrupted)
      #expect(result.warmUp.end == .unfinished)
      #expect(result.measured.started == 0)
    }
  }
}
