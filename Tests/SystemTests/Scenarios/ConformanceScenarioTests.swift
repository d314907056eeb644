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

  @Test("scenario 3: a stale holder's packets arrive after its successor has written, and are refused")
  func delayedPackets() async throws { try await playScenario(3) }

  @Test(
    "scenario 4: a lease that ends during a request: it is committed whole or not at all, and after a raise refused")
  func leaseEnds() async throws { try await playScenario(4) }

  @Test("scenario 5: a raise during a long statement: nothing of the old holder comes after it")
  func raiseDuringStatement() async throws { try await playScenario(5) }

  @Test("scenario 6: a leader that was stopped for two elections grants nothing, ends nothing and shows nothing old")
  func stoppedLeader() async throws { try await playScenario(6) }

  @Test("scenario 7: cut off from the core and not from the gateway, a holder stops at its own deadline")
  func holderCutOff() async throws { try await playScenario(7) }

  @Test("scenario 8: where only answers are lost, the holder's deadline passes all the same")
  func answersCutOff() async throws { try await playScenario(8) }

  @Test(
    "scenario 9: a gateway without its core goes on deciding by its floors, and opens nothing that it does not know")
  func cutOffGateway() async throws { try await playScenario(9) }

  @Test("scenario 12: a gateway that was killed after an acknowledgement has the data and the floor")
  func killedAfterAcknowledgement() async throws { try await playScenario(12) }

  @Test("scenario 13: a gateway that was killed while it wrote has both of floor and data, or neither")
  func killedWhileWriting() async throws { try await playScenario(13) }

  @Test("scenario 16: a request that comes again is answered with what was kept, and with an error when that is gone")
  func repeatedRequest() async throws { try await playScenario(16) }

  @Test("scenario 17: a request whose answer was lost is applied once, and its outcome can be asked for")
  func unknownOutcome() async throws { try await playScenario(17) }

  @Test("scenario 22: a grant whose answer was lost with its leader is the same when it is asked for again")
  func lostGrant() async throws { try await playScenario(22) }

  @Test("scenario 23: a lock that is deleted and made again has a higher number each time")
  func lockMadeAgain() async throws { try await playScenario(23) }

  @Test("scenario 24: a holder that comes back has a new number, and its own older writes are refused")
  func holderComesBack() async throws { try await playScenario(24) }

  @Test("scenario 25: a renewal at the very end of a lease is in time, or its successor has the grant")
  func renewalAtTheEnd() async throws { try await playScenario(25) }

  @Test("scenario 26: a request over several scopes with one stale token changes nothing")
  func severalScopes() async throws { try await playScenario(26) }

  @Test("scenario 28: numbers at the edge of 64 bits are bounded, and nothing wraps")
  func edgeNumbers() async throws { try await playScenario(28) }

  @Test("scenario 30: a watch that lags is advice: who believes it is refused")
  func laggingWatch() async throws { try await playScenario(30) }

  @Test("scenario 31: the lock-set workload loses nothing with the fence, and something without")
  func lockSet() async throws { try await playScenario(31) }
}
