// What a scenario is: a story with stale writers in it that is played against real processes, and what was counted.

/// One scenario of the catalogue. It is played twice: with the fence, where it must pass, and as its negative control without
/// one, where it must fail, or the scenario would prove nothing.
package protocol Scenario: Sendable {
  /// Its number in the catalogue, 1 to 31.
  var number: Int { get }
  /// One line: what happens.
  var title: String { get }
  /// One line: what must be seen.
  var expectation: String { get }
  /// Why there is no negative control; nil where there is one.
  var noControl: String? { get }
  /// Plays it once.
  /// - Throws: where it could not be played to its end; that is counted as a failure.
  func play(on stage: Stage) async throws -> Tally
}

extension Scenario {
  package var noControl: String? { nil }
}

/// Whether the resource fences.
package enum Guarding: String, Codable, Sendable, CaseIterable {
  /// The database is protected by its scope, and writes carry their token.
  case fenced
  /// The database is declared open, and the same writes carry none: the negative control.
  case unfenced
}

/// What was counted in one play of a scenario.
package struct Tally: Codable, Sendable {
  /// Writes by a holder whose authority had gone to somebody else, which the scenario says must be refused.
  package var staleAttempts = 0
  /// How many of them were refused.
  package var refusals = 0
  /// How many of them took effect.
  package var landed = 0
  /// Acknowledged writes of the rightful holder whose effect was gone at the end.
  package var lostUpdates = 0
  /// What else went against what must be seen, each in one sentence.
  package var failures: [String] = []
  /// What a reader of the report should know, each in one sentence.
  package var notes: [String] = []

  /// Whether the story went another way than told, so that what it is about was not seen.
  package var isMissed = false

  package init() {}

  /// Counts the answer to a write that is stale. One without an answer is counted as an attempt alone: whether it took effect
  /// must be seen in the data.
  package mutating func countStale(_ answer: ResourceAnswer) {
    staleAttempts += 1
    if answer.isFenced { refusals += 1 }
    if answer.isAccepted { landed += 1 }
    if !answer.isFenced && !answer.isAccepted {
      notes.append("a stale write was neither taken nor refused: \(answer.summary)")
    }
  }

  /// Notes a failure where what must hold does not.
  package mutating func expect(_ holds: Bool, _ failure: @autoclosure () -> String) {
    if !holds { failures.append(failure()) }
  }

  package mutating func note(_ text: String) { notes.append(text) }

  /// The story went another way, by no fault of the fence: one that passes otherwise is inconclusive.
  package mutating func miss(_ why: String) {
    isMissed = true
    notes.append(why)
  }

  package var verdict: Verdict {
    if landed > 0 || lostUpdates > 0 || !failures.isEmpty { return .fail }
    // Where nothing stale was tried, nothing was shown, and neither where it was not refused but failed for another reason.
    return staleAttempts == 0 || refusals < staleAttempts || isMissed ? .inconclusive : .pass
  }
}

package enum Verdict: String, Codable, Sendable { case pass, fail, inconclusive }
