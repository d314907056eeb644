// Owns one run from end to end: waits for what it needs to be there, connects, finds out whom it talks to, prepares, runs, and
// cleans up whatever happens.
//
// It must never leave a thread or a connection behind, and never throw away figures: once operations have started, an
// interruption or a lost target ends in a result that says so.

import Glibc
import Measurement
import NIOCore
import NIOPosix
import Wire

struct LoadScene<Scenario: LoadScenario> {
  private typealias Connection = Scenario.Driver.Connection

  private let scenario: Scenario
  private let plan: LoadPlan
  private let group: MultiThreadedEventLoopGroup
  private let eventLoops: [any EventLoop]
  private let frame = LoadFrame()
  private let lanes: [Lane<Connection>]
  private let loopOfLane: [Int]
  private let onProgress: @Sendable (BenchProgress) -> Void

  init(
    _ scenario: Scenario, group: MultiThreadedEventLoopGroup, onProgress: @escaping @Sendable (BenchProgress) -> Void
  ) {
    self.scenario = scenario
    self.group = group
    self.onProgress = onProgress
    let plan = scenario.plan
    self.plan = plan
    let eventLoops = Array(group.makeIterator()).map { $0 as any EventLoop }
    self.eventLoops = eventLoops
    loopOfLane = (0..<plan.configuration.connections).map { $0 % eventLoops.count }
    lanes = loopOfLane.enumerated().map { number, loop in
      Lane(eventLoop: eventLoops[loop], endpoints: plan.endpoints, tls: plan.tls, number: number)
    }
  }

  func run() async throws(WorkloadError) -> BenchResult {
    let startedAt = MonotonicClock.wallClock()
    let environment = RunEnvironment.capture(targetDirectory: plan.targetDirectory)
    let outcome: LoadOutcome
    let target: TargetDescription
    do throws(WorkloadError) {
      let connections = try await connect()
      target = await scenario.describe(over: connections[0])
      outcome = try await load(connections)
    } catch {
      await closeLanes()
      throw error
    }
    await closeLanes()
    var result = BenchResult(
      scenario: plan.configuration.operation.name, startedAt: startedAt, configuration: plan.configuration,
      environment: environment, target: target, ending: outcome.ending,
      judgement: Judgement(
        of: outcome.measured, generator: outcome.generator, ending: outcome.ending, budget: plan.budget),
      warmUp: outcome.warmUp, measured: outcome.measured, generator: outcome.generator, timeline: outcome.timeline)
    result.configurationDigest = plan.configuration.digest
    result.commits = outcome.commits
    return result
  }

  private func load(_ connections: [Connection]) async throws(WorkloadError) -> LoadOutcome {
    let prepared = try await scenario.prepare(over: connections)
    let loops = loops(prepared)
    let result: Result<LoadOutcome, WorkloadError>
    do throws(WorkloadError) {
      try await begin(loops)
      var run = LoadRun(
        plan: plan, frame: frame, loops: loops, dispatcher: dispatcher(loops), onProgress: onProgress)
      result = .success(try await run.run())
    } catch {
      result = .failure(error)
    }
    for loop in loops { try? await loop.eventLoop.submit { loop.forgetAll() }.get() }
    // A task that was cancelled can still do this, and what was prepared need not stay at the target.
    let finishing = Task { [scenario, result, lanes] in
      var figures = (try? result.get())?.measured ?? LoadFigures()
      var left: [Connection] = []
      for lane in lanes {
        if let up = try? await lane.eventLoop.submit({ lane.connection }).get() { left.append(up) }
      }
      await scenario.finish(prepared, over: left, &figures)
      return figures
    }
    let figures = await finishing.value
    var outcome = try result.get()
    outcome.measured = figures
    return outcome
  }

  private func loops(_ prepared: Scenario.Prepared) -> [LoadLoop<Scenario.Driver>] {
    var firstClient = 0
    return eventLoops.indices.map { index in
      let own = lanes.indices.filter { loopOfLane[$0] == index }
      let share = LoadShare(of: plan.configuration, lanes: own, loop: index, loops: eventLoops.count)
      defer { firstClient += share.clients }
      let place = LoopPlace(
        index: index, count: eventLoops.count, eventLoop: eventLoops[index], lanes: own.count, share: share,
        firstClient: firstClient, frame: frame)
      return LoadLoop(
        eventLoop: eventLoops[index], lanes: own.map { lanes[$0] }, driver: scenario.driver(at: place, prepared),
        share: share, callTimeoutNanoseconds: plan.configuration.callTimeoutNanoseconds, frame: frame)
    }
  }

  private func begin(_ loops: [LoadLoop<Scenario.Driver>]) async throws(WorkloadError) {
    for loop in loops {
      do {
        try await loop.eventLoop.flatSubmit { loop.begin() }.get()
      } catch {
        throw WorkloadError(.unreachable, (error as? RPCStatus)?.message ?? "\(error)")
      }
    }
  }

  private func dispatcher(_ loops: [LoadLoop<Scenario.Driver>]) -> ArrivalDispatcher? {
    guard case .open(let process, let rate, _) = plan.configuration.shape else { return nil }
    let receivers = loops.map { loop in
      ArrivalDispatcher.Receiver(eventLoop: loop.eventLoop, mailbox: loop.mailbox) { loop.collectArrivals() }
    }
    return ArrivalDispatcher(
      schedule: ArrivalSchedule(process: process, ratePerSecond: rate, seed: plan.configuration.seed),
      receivers: receivers, receiverOfLane: loopOfLane, frame: frame, limit: plan.configuration.totalOperations)
  }

  // MARK: Connecting

  /// Opens every connection, or says which endpoint did not answer and why.
  private func connect() async throws(WorkloadError) -> [Connection] {
    let cancelled = group.any().makePromise(of: Void.self)
    let all = EventLoopFuture.whenAllSucceed(lanes.map { $0.open() }, on: group.any())
    all.map { _ in }.cascade(to: cancelled)
    do {
      try await withTaskCancellationHandler {
        try await cancelled.futureResult.get()
      } onCancel: {
        cancelled.fail(CancellationError())
      }
      return try await all.get()
    } catch is CancellationError {
      throw WorkloadError(.interrupted, "stopped before the load began: the connections were not open yet")
    } catch {
      let reason = (error as? RPCStatus)?.message ?? "\(error)"
      throw WorkloadError(.unreachable, "\(reason). Is the target running, and is this its client address?")
    }
  }

  private func closeLanes() async {
    for lane in lanes { try? await lane.eventLoop.submit { lane.close() }.get() }
  }
}

extension LoadShare {
  init(of configuration: LoadConfiguration, lanes: [Int], loop: Int, loops: Int) {
    switch configuration.shape {
    case .open(_, _, let bound):
      maxInFlight = Swift.max(1, (bound + loop) / loops)
    case .closed(let count):
      // Client i uses connection i modulo their number.
      let connections = configuration.connections
      clients = lanes.reduce(0) { $0 + (count - $1 + connections - 1) / connections }
      quota = configuration.totalOperations.map { ($0 + UInt64(loop)) / UInt64(loops) }
    }
  }
}
