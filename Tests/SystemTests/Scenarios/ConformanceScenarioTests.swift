// The scenarios of `portcullis conformance`, each fenced, where it must pass, and as its negative control, where it must fail.

import Conformance
import Testing

/// Plays one scenario on a deployment of its own.
func playScenario(_ number: Int, sourceLocation: SourceLocation = #_sourceLocation) async throws {
  let directory = try ScratchDirectory()
  var run = ConformanceRun(
    executable: Program.path, directory: directory("run"), scenarios: try Catalogue.scenarios([number]))
  run.isShort = true
  let result = try #require(try await run.run().first)
  for (name, play) in [("fenced", result.fenced)] + (result.control.map { [("control", $0)] } ?? []) {
    let tally = play.tally
    print(
      "scenario \(number) \(name): \(play.verdict.rawValue), \(tally.staleAttempts) stale, \(tally.refusals) refused,"
        + " \(tally.landed) landed, \(tally.lostUpdates) lost, \(play.elapsed) \(tally.failures) \(tally.notes)")
  }
  #expect(result.fenced.verdict == .pass, "\(result.fenced.tally)", sourceLocation: sourceLocation)
  #expect(result.fenced.tally.refusals == result.fenced.tally.staleAttempts, sourceLocation: sourceLocation)
  #expect(result.verdict == .pass, "\(String(describing: result.control?.tally))", sourceLocation: sourceLocation)
}

@Suite("conformance", .serialized, .timeLimit(.minutes(3)))
struct ConformanceScenarioTests {
  @Test("scenario 1: a holder that was stopped past its lease writes after its successor, and is refused")
  func pausedHolder() async throws { try await playScenario(1) }

  @Test("scenario 2: … and before its successor's first write: refused with the barrier, documented without it")
  func pausedBeforeFirstWrite() async throws { try await playScenario(2) }
}
