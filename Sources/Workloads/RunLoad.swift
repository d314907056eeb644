// Owns the choice of what is run for which operation.

package import Measurement
import NIOPosix
import Wire

/// Loads a target. Cancelling the task ends the run early, and the result has what was measured until then.
///
/// `onProgress` is called about twice a second, on no particular thread.
package func runLoad(
  _ options: LoadOptions, onProgress: @escaping @Sendable (BenchProgress) -> Void = { _ in }
) async throws(WorkloadError) -> BenchResult {
  let plan = try options.validated()
  let group = MultiThreadedEventLoopGroup(numberOfThreads: plan.configuration.eventLoops)
  let result: Result<BenchResult, WorkloadError>
  do throws(WorkloadError) {
    result = .success(try await run(plan, group, onProgress))
  } catch {
    result = .failure(error)
  }
  // The loops end with their connections closed; that this could fail twice is no reason to lose a result.
  try? await group.shutdownGracefully()
  return try result.get()
}

private func run(
  _ plan: LoadPlan, _ group: MultiThreadedEventLoopGroup, _ onProgress: @escaping @Sendable (BenchProgress) -> Void
) async throws(WorkloadError) -> BenchResult {
  func scene<Driver: LoadDriver>(
    _ make: @escaping @Sendable (LoadPlan, LoopPlace, WirePrepared) -> Driver
  ) async throws(WorkloadError) -> BenchResult where Driver.Connection == WireConnection {
    try await LoadScene(WireScenario(plan: plan, make: make), group: group, onProgress: onProgress).run()
  }
  switch plan.configuration.operation {
  case .put: return try await scene { plan, place, _ in PutDriver(plan, place, RevisionOracle()) }
  case .get(let isSerializable):
    return try await scene { plan, place, _ in
      GetDriver(plan, place, RevisionOracle(), isSerializable: isSerializable)
    }
  case .list(let limit):
    return try await scene { plan, place, _ in ListDriver(plan, place, RevisionOracle(), limit: limit) }
  case .compareAndSwap(let exponent):
    return try await scene { plan, place, _ in
      CompareDriver(plan, place, RevisionOracle(), zipfExponent: exponent)
    }
  case .lock(let names, let hold):
    return try await scene { plan, place, prepared in
      LockDriver(plan, place, prepared, names: names, holdNanoseconds: hold ?? 0)
    }
  case .renew: return try await scene { _, place, prepared in RenewalDriver(place, prepared) }
  case .watch(let watchers):
    return try await scene { plan, place, _ in WatchDriver(plan, place, watchers: watchers) }
  case .mix(let parts): return try await scene { plan, place, _ in MixDriver(plan, place, parts) }
  case .write:
    return try await LoadScene(WriteScenario(plan: plan), group: group, onProgress: onProgress).run()
  }
}
