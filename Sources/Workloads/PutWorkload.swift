// Owns the entry to the put load: it checks what is asked for, connects, finds out whom it talks to, runs, and cleans
// up whatever happens.
//
// It must never leave a thread or a connection behind, and never throw away figures: once operations have started, an
// interruption or a lost target ends in a result that says so.

import Glibc
package import Measurement
import NIOCore
import NIOPosix
import Protocol
import Wire

/// Loads a cluster with puts. Cancelling the task ends the run early, and the result has what was measured until then.
///
/// `onProgress` is called about twice a second, on no particular thread.
package func runPutWorkload(
  _ options: PutWorkloadOptions, onProgress: @escaping @Sendable (BenchProgress) -> Void = { _ in }
) async throws(WorkloadError) -> BenchResult {
  let plan = try options.validated()
  let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.configuration.eventLoops)
  let result: Result<BenchResult, WorkloadError>
  do throws(WorkloadError) {
    result = .success(try await PutWorkload(plan: plan, group: group).run(onProgress))
  } catch {
    result = .failure(error)
  }
  // The loops end with their connections closed; that this could fail twice is no reason to lose a result.
  try? await group.shutdownGracefully()
  return try result.get()
}

struct PutWorkload {
  private let plan: PutPlan
  private let group: MultiThreadedEventLoopGroup
  private let frame = LoadFrame()
  private let lanes: [Lane]
  private let loops: [LoadLoop]
  private let loopOfLane: [Int]

  init(plan: PutPlan, group: MultiThreadedEventLoopGroup) {
    self.plan = plan
    self.group = group
    let configuration = plan.configuration
    let eventLoops = Array(group.makeIterator())
    loopOfLane = (0..<configuration.connections).map { $0 % eventLoops.count }
    let loopOfLane = loopOfLane
    lanes = loopOfLane.enumerated().map { number, loop in
      Lane(eventLoop: eventLoops[loop], endpoints: plan.endpoints, tls: plan.tls, number: number)
    }
    let template = PutTemplate(
      keyPrefix: configuration.keyPrefix, keySizeBytes: configuration.keySizeBytes,
      valueSizeBytes: configuration.valueSizeBytes, seed: configuration.seed)
    loops = eventLoops.indices.map { [lanes, frame] index in
      let own = lanes.indices.filter { loopOfLane[$0] == index }
      let share = Share(of: configuration, lanes: own, loop: index, loops: eventLoops.count)
      let keys = KeySequence(
        order: configuration.keyOrder, count: configuration.keyCount, seed: configuration.seed, loop: index,
        loops: eventLoops.count)
      return LoadLoop(
        eventLoop: eventLoops[index], lanes: own.map { lanes[$0] }, clients: share.clients,
        setting: LoadLoop.Setting(
          template: template, keys: keys, callTimeoutNanoseconds: configuration.callTimeoutNanoseconds,
          maxInFlight: share.maxInFlight, quota: share.quota),
        frame: frame)
    }
  }

  func run(_ onProgress: @escaping @Sendable (BenchProgress) -> Void) async throws(WorkloadError) -> BenchResult {
    let startedAt = MonotonicClock.wallClock()
    let environment = RunEnvironment.capture()
    let outcome: LoadRun.Outcome
    let target: TargetDescription
    do throws(WorkloadError) {
      target = try await connect()
      var run = LoadRun(plan: plan, frame: frame, loops: loops, dispatcher: dispatcher(), onProgress: onProgress)
      outcome = try await run.run()
    } catch {
      await closeLoops()
      throw error
    }
    await closeLoops()
    return BenchResult(
      scenario: "put", startedAt: startedAt, configuration: plan.configuration, environment: environment,
      target: target, ending: outcome.ending,
      judgement: Judgement(
        of: outcome.measured, generator: outcome.generator, ending: outcome.ending, budget: plan.budget),
      warmUp: outcome.warmUp, measured: outcome.measured, generator: outcome.generator, timeline: outcome.timeline)
  }

  private func closeLoops() async {
    for loop in loops { try? await loop.eventLoop.submit { loop.close() }.get() }
  }

  private func dispatcher() -> ArrivalDispatcher? {
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
  private func connect() async throws(WorkloadError) -> TargetDescription {
    let cancelled = group.any().makePromise(of: Void.self)
    let all = EventLoopFuture.whenAllSucceed(lanes.map { $0.open() }, on: group.any())
    all.map { _ in }.cascade(to: cancelled)
    do {
      try await withTaskCancellationHandler {
        try await cancelled.futureResult.get()
      } onCancel: {
        cancelled.fail(CancellationError())
      }
      guard let first = try await all.get().first else { preconditionFailure("a plan has one connection at least") }
      return await describe(first)
    } catch is CancellationError {
      throw WorkloadError(.interrupted, "stopped before the load began: the connections were not open yet")
    } catch {
      let reason = (error as? RPCStatus)?.message ?? "\(error)"
      throw WorkloadError(.unreachable, "\(reason). Is the target running, and is this its client address?")
    }
  }

  /// Asks the target for its version, as etcd's own tools do. One that does not know the question is measured anyway.
  private func describe(_ connection: WireConnection) async -> TargetDescription {
    var target = TargetDescription(endpoints: plan.endpoints.map(\.description))
    let answer = try? await connection.unary(
      RPCPath.Maintenance.status, Etcdserverpb_StatusRequest(), as: Etcdserverpb_StatusResponse.self,
      deadline: .now() + .seconds(2))
    guard let answer else { return target }
    if !answer.version.isEmpty { target.version = answer.version }
    if answer.header.clusterID != 0 { target.cluster = String(answer.header.clusterID, radix: 16) }
    return target
  }
}

/// What one event loop has of the whole load.
private struct Share {
  var clients = 0
  var maxInFlight = 0
  var quota: UInt64?

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
