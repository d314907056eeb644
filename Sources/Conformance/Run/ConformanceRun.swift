// Plays scenarios one after another, each fenced and then as its own negative control, and judges.

import Foundation

package struct ConformanceRun: Sendable {
  /// The path of the program whose servers are started.
  package var executable: String
  /// Where the processes keep what they keep; it stays afterwards.
  package var directory: String
  package var scenarios: [any Scenario]
  /// Fewer repetitions where a scenario has some.
  package var isShort = false
  /// How long one play may take before it is given up.
  package var patience = Duration.seconds(120)
  /// What is played with where the run does not start a core and gateways of its own.
  package var outside: Outside? {
    didSet { if let outside { patience = outside.patience } }
  }
  /// Of whose plays they are, for a report that has others' too.
  package var systemName: String?
  /// In all names that are used outside, so that no two runs meet.
  package let id = String(UInt32.random(in: .min ... .max), radix: 16)

  package init(executable: String, directory: String, scenarios: [any Scenario]) {
    self.executable = executable
    self.directory = directory
    self.scenarios = scenarios
  }

  /// - Parameter report: hears of each scenario as it is done.
  /// - Returns: one result for each scenario, in their order.
  /// - Throws: when not even a core could be started, when what is outside is gone, and when the task is cancelled. All
  ///   processes have ended then too.
  package func run(_ report: (ScenarioResult) -> Void = { _ in }) async throws -> [ScenarioResult] {
    try await Deployment.withDeployment(of: executable, in: directory) { deployment in
      let core = if let outside { outside.core } else { try await deployment.startCore() }
      var results: [ScenarioResult] = []
      for scenario in scenarios {
        let fenced = try await play(scenario, .fenced, deployment, core)
        let noControl = scenario.noControl ?? outside?.noControl
        let control = noControl == nil ? try await play(scenario, .unfenced, deployment, core) : nil
        let result = ScenarioResult(
          scenario, fenced: fenced, control: control, noControl: noControl, system: outside?.name ?? systemName)
        results.append(result)
        report(result)
      }
      return results
    }
  }

  private func play(
    _ scenario: any Scenario, _ guarding: Guarding, _ deployment: Deployment, _ core: CoreProcesses
  ) async throws -> Play {
    let began = ContinuousClock.now
    var name = "s\(scenario.number)-\(guarding.rawValue)"
    let place = "\(directory)/\(name)"
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    let mark = outside == nil ? name : "conformance-\(id)-\(name)"
    if let outside { name = outside.database(mark, guarding) }
    let stage = Stage(
      deployment: deployment, core: core, guarding: guarding, directory: place, name: name, isShort: isShort,
      outside: outside, ownMark: mark)
    let tally: Tally
    do {
      try await outside?.prepare(name, guarding)
      tally = try await withinPatience { try await scenario.play(on: stage) }
      try await leave(stage)
    } catch {
      try? await leave(stage)
      try Task.checkCancellation()
      try await outside?.check()
      var broken = Tally()
      broken.failures = ["it could not be played to its end: \(error)"]
      return Play(tally: broken, isBroken: true, elapsed: ContinuousClock.now - began)
    }
    return Play(tally: tally, isBroken: false, elapsed: ContinuousClock.now - began)
  }

  /// Ends a play on what is not the run's own, so that nothing of it stays there. That must be done where the task was
  /// cancelled as well, so it is a task of its own; all that it waits for is bounded.
  private func leave(_ stage: Stage) async throws {
    guard let outside else { return }
    try await Task {
      let leases = await stage.deployment.endWriters()
      try await outside.cleanUp(after: stage, leases)
    }.value
  }

  private func withinPatience(_ body: @escaping @Sendable () async throws -> Tally) async throws -> Tally {
    try await withThrowingTaskGroup(of: Tally.self) { group in
      group.addTask(operation: body)
      group.addTask { [patience] in
        try await Task.sleep(for: patience)
        throw ConformanceError("it was given up after \(patience)")
      }
      defer { group.cancelAll() }
      guard let first = try await group.next() else { throw CancellationError() }
      return first
    }
  }
}

/// One play of a scenario.
package struct Play: Sendable {
  package let tally: Tally
  /// It could not be played to its end, so its verdict says nothing of the fence.
  package let isBroken: Bool
  package let elapsed: Duration

  package var verdict: Verdict { tally.verdict }
}

/// A scenario with its negative control.
package struct ScenarioResult: Sendable {
  package let number: Int
  package let title: String
  package let expectation: String
  package let fenced: Play
  /// Nil where the scenario has none.
  package let control: Play?
  /// Why it has none.
  package let noControl: String?
  /// Whose locks and resource they were, in a run with several.
  package let system: String?

  init(_ scenario: any Scenario, fenced: Play, control: Play?, noControl: String?, system: String?) {
    number = scenario.number
    title = scenario.title
    expectation = scenario.expectation
    self.fenced = fenced
    self.control = control
    self.noControl = noControl
    self.system = system
  }

  /// A control that does not fail takes the scenario's proof away, and so does one that fails for another reason.
  package var verdict: Verdict {
    guard fenced.verdict == .pass, let control else { return fenced.verdict }
    return control.verdict == .fail && !control.isBroken ? .pass : .inconclusive
  }
}
