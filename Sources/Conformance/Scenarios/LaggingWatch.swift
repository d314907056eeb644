// Scenario 30: a holder watches its own lock, and the watch lags behind the loss of it.

import Client

struct LaggingWatch: Scenario {
  let number = 30
  let title = "a watch lags behind the loss of the lock"
  let expectation = "what a watch says is advice; A, which believes it, is refused"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let gateway = try await stage.startGateway()
    let proxy = try await CutProxy.start(to: stage.core.endpoints)
    // A's process is told nothing more by the core either, once the proxy holds what comes from there.
    let scene = try await Handover.start(
      on: stage, gateway: gateway, endpointsOfA: proxy.endpoint, milliseconds: 30_000)
    let key = "conformance/\(stage.mark)/watched"
    let revision = try await stage.withClient { try await $0.put(key, "A", lease: scene.authorityOfA.lease) }
    try await stage.withClient(of: proxy.endpoint) { watching in
      try await withThrowingTaskGroup(of: Void.self) { group in
        let (told, continuation) = AsyncStream.makeStream(of: KeyEvent.self)
        group.addTask {
          for try await event in watching.events(of: .key(key), from: revision) { continuation.yield(event) }
        }
        try await play(scene, proxy, told, into: &tally)
        group.cancelAll()
      }
    }
    await proxy.stop()
    return tally
  }

  private func play(
    _ scene: Handover, _ proxy: CutProxy, _ told: AsyncStream<KeyEvent>, into tally: inout Tally
  ) async throws {
    var told = told.makeAsyncIterator()
    // The lock itself is seen in time, so the watch works.
    tally.expect(Self.isPut(await told.next()), "the watch did not tell of the lock")
    try await proxy.hold(.toClient)
    try await scene.stage.end(scene.authorityOfA)
    try await scene.b.acquire(scene.stage.scope)
    try await scene.b.mustSend(scene.write("B"))
    // The news of the loss is on its way, and not there: the watcher still takes the lock for A's.
    try await proxy.waitUntilHeld()
    let began = ContinuousClock.now
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    let microseconds = (ContinuousClock.now - began) / .microseconds(1)
    try await proxy.release()
    tally.expect(!Self.isPut(await told.next()), "the watch never told of the loss")
    tally.note("A's writes were decided within \(Int(microseconds)) µs, before its watch was told of the loss")
  }

  private static func isPut(_ event: KeyEvent?) -> Bool {
    if case .put = event { return true }
    return false
  }
}
