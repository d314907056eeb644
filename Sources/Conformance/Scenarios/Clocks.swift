// Scenarios 10 and 11: wall clocks that jump, and a machine that stands still with everything on it.

extension Stage {
  /// The same stage with a core of its own.
  func with(_ core: CoreProcesses) -> Stage {
    var stage = self
    stage.core = core
    return stage
  }
}

struct JumpingClocks: Scenario {
  let number = 10
  let title =
    "the wall clocks of core, gateway and holder jump by an hour, each its own way, while a scope is handed over"
  let expectation = "no lease ends early, and no stale write lands"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let executable = stage.deployment.executable
    let clocks = try (0..<3).map { _ in try FaultControl(for: executable, below: stage.directory) }
    let core = try await stage.deployment.startCore(name: "\(stage.name)-core", environment: clocks[0].environment)
    let stage = stage.with(core)
    let gateway = try await stage.startGateway(environment: clocks[1].environment)
    let scene = try await Handover.start(on: stage, gateway: gateway, environmentOfA: clocks[2].environment)
    tally.expect(clocks.allSatisfy { $0[.attached] > 0 }, "a process is not under its clock")
    // Renewed every few hundred milliseconds, over every jump.
    let kept = try stage.startWriter("C", gateway: gateway.address, environment: clocks[2].environment)
    let held = try await kept.acquire("\(stage.name)-kept")
    for (hours, holder, next) in [([1, -1, 1], scene.a, scene.b), ([-1, 1, -1], scene.b, scene.a)] {
      for (clock, hours) in zip(clocks, hours) { clock.setClock(hoursAhead: hours) }
      try await holder.mustSend(scene.write(holder.holder))
      try await holder.pause()
      // The next is granted when the holder's lease has ended, which no wall clock decides.
      try await next.acquire(stage.name)
      try await next.mustSend(scene.write(next.holder))
      holder.resume()
      for _ in 0..<3 { tally.countStale(try await holder.send(scene.write("\(holder.holder), too late"))) }
      try await scene.expectOwner(next.holder, &tally)
    }
    let now = try await stage.withClient { try await $0.describe("\(stage.name)-kept").grant?.number }
    tally.expect(now == held.number, "a lease that was renewed all the time has ended when a clock jumped")
    return tally
  }
}

struct SuspendedMachine: Scenario {
  let number = 11
  let title = "the machine stands still for longer than the holder's lease, with core, gateway and both writers on it"
  let expectation = "as 1: the holder that goes on is refused when another was granted"

  func play(on stage: Stage) async throws -> Tally {
    var tally = Tally()
    let core = try await stage.deployment.startCore(name: "\(stage.name)-core")
    let stage = stage.with(core)
    let scene = try await Handover.start(on: stage)
    try await scene.a.pause()
    try await scene.b.pause()
    try await scene.gateway.pause()
    for node in core.nodes { try await node.pause() }
    // How long the machine stands still is the fault itself: twice A's lease.
    try await Task.sleep(for: .milliseconds(1000))
    for node in core.nodes { node.resume() }
    scene.gateway.resume()
    scene.b.resume()
    scene.a.resume()
    // A's session knows that its deadline has passed and renews no more; the program around it has not looked.
    let new = try await scene.b.acquire(stage.name)
    tally.expect(
      new.number > scene.authorityOfA.number, "B's number \(new.number) is not above \(scene.authorityOfA.number)")
    try await scene.b.mustSend(scene.write("B"))
    try await scene.writeLate(into: &tally)
    try await scene.expectOwner("B", &tally)
    return tally
  }
}
