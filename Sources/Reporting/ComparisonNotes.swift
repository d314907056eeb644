// Owns what to bear in mind with a comparison: too few runs, runs that were not interleaved, machines that differ.
//
// It must never hold back a comparison: what stands here weakens one, and what forbids one is an error elsewhere.

import Measurement

struct ComparisonNotes {
  /// The runs of a side that a median and a rank test begin to mean something with.
  static let advisedRuns = 5

  let baseline: [ResultFile]
  let candidate: [ResultFile]
  let figures: [RunComparison.Row]

  /// The gravest first.
  var all: [String] {
    get throws(ComparisonError) {
      var notes = counts + doubtful + order
      notes += try difference(
        RunDifferences.inLength, "the runs differ in how long they look, and a longer one meets rarer stalls")
      notes += try difference(RunDifferences.inMachine, "the machines differ, so the figures are theirs too")
      return notes + gaps
    }
  }

  private var counts: [String] {
    let sides = "\(FigureText.counted(UInt64(baseline.count), "run")) against \(candidate.count)"
    if baseline.count == 1, candidate.count == 1 {
      return [
        "one run a side proves nothing: no difference of theirs is significant. Take five each, interleaved"
      ]
    }
    let leastP = FigureComparison.leastP(baseline.count, candidate.count)
    if leastP >= FigureComparison.significanceLevel {
      return [
        "\(sides) can show no significant difference (the least p is \(FigureText.chance(leastP))). Take five each, "
          + "interleaved"
      ]
    }
    return min(baseline.count, candidate.count) < Self.advisedRuns
      ? ["\(sides) are few: only large differences show. Take five each, interleaved"] : []
  }

  private var doubtful: [String] {
    let files = (baseline + candidate).filter {
      $0.result.judgement.verdict != .valid || $0.result.ending != .completed
    }
    guard !files.isEmpty else { return [] }
    let runs = files.map { "\($0.name): \(RunComparison.Run($0, isUsed: true).state)" }
    return ["taken although not to be believed: \(runs.joined(separator: "; "))"]
  }

  /// Runs of a side that all come before the other's share whatever the machine did then.
  private var order: [String] {
    guard baseline.count > 1, candidate.count > 1 else { return [] }
    // ISO 8601 in UTC sorts as text.
    let times = (baseline.map(\.result.startedAt), candidate.map(\.result.startedAt))
    guard let lastBefore = times.0.max(), let firstAfter = times.1.min(), let lastAfter = times.1.max(),
      let firstBefore = times.0.min(), lastBefore < firstAfter || lastAfter < firstBefore
    else { return [] }
    return [
      "all runs of one side came before the other's: what the machine did meanwhile looks like a difference. "
        + "Interleave them"
    ]
  }

  private func difference(
    _ look: (BenchResult, BenchResult) throws(ComparisonError) -> RunDifferences, _ meaning: String
  ) throws(ComparisonError) -> [String] {
    guard let first = baseline.first else { return [] }
    for file in baseline.dropFirst() + candidate {
      let differences = try look(first.result, file.result)
      if !differences.isEmpty { return ["\(meaning): \(differences.text) (\(first.name), \(file.name))"] }
    }
    return []
  }

  /// Figures that not every run has.
  private var gaps: [String] {
    figures.compactMap { row in
      let with = (row.comparison.baseline.count, row.comparison.candidate.count)
      guard with != (baseline.count, candidate.count) else { return nil }
      return "\(row.figure.label): only \(with.0) of \(baseline.count) and \(with.1) of \(candidate.count) runs have "
        + "enough samples for it"
    }
  }
}
