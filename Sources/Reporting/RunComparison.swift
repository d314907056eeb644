// Owns the comparison of two sets of runs: what is taken, what is left out, what came of it, and the exit code that a
// gate goes by.
//
// It must never take a run whose figures are not to be believed without saying so, and never pass a candidate that
// answered wrongly because the runs in which it did were left out.

package import Measurement

/// What a comparison is asked to do.
package struct ComparisonOptions: Sendable {
  /// How much worse a figure's median may be, in percent of the baseline's.
  package var tolerancePercent = 5.0
  /// The figures that decide.
  package var gates: Set<ComparedFigure> = Set(ComparedFigure.allCases)
  /// Takes runs that are invalid, failed or cut short, too.
  package var includesInvalid = false
  /// Fewer runs than this on a side, and nothing is compared.
  package var leastRuns = 1

  package init() {}
}

/// Two sets of runs beside one another. The first is what the second is measured by.
package struct RunComparison: Sendable, Encodable {
  package static let currentSchema = "portcullis.comparison/1"

  package enum Verdict: String, Sendable, Codable {
    case notWorse
    case worse
  }

  /// One run of a side.
  package struct Run: Sendable, Encodable {
    package var file: String
    package var startedAt: String
    package var target: TargetDescription
    package var verdict: Judgement.Verdict
    package var ending: RunEnding
    /// The codes of its verdict's reasons.
    package var reasons: [String]
    package var isUsed: Bool
  }

  package struct Side: Sendable, Encodable {
    package var runs: [Run]
  }

  /// One figure of both sides.
  package struct Row: Sendable, Encodable {
    package var figure: ComparedFigure
    /// Whether it decides.
    package var isGated: Bool
    package var comparison: FigureComparison

    private enum CodingKeys: String, CodingKey { case figure, unit, isGated }

    /// One flat object: who reads it with a shell is spared a level.
    package func encode(to encoder: any Encoder) throws {
      try comparison.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(figure, forKey: .figure)
      try container.encode(figure.unit, forKey: .unit)
      try container.encode(isGated, forKey: .isGated)
    }
  }

  package var schema = RunComparison.currentSchema
  package var scenario: String
  /// How the load of all runs was made.
  package var load: String
  package var verdict: Verdict
  /// Why it is worse. Empty where it is not.
  package var reasons: [String]
  package var tolerancePercent: Double
  package var significanceLevel = FigureComparison.significanceLevel
  package var baseline: Side
  package var candidate: Side
  package var figures: [Row]
  /// What to bear in mind with these figures, the gravest first.
  package var notes: [String]

  /// For gates: 0 no significant worsening beyond the tolerance, 1 worse.
  package var exitCode: Int32 { verdict == .worse ? 1 : 0 }

  /// The exit code of what could not be compared at all: files that cannot be read, runs of different loads, no run left.
  package static let noComparisonExitCode: Int32 = 2

  package init(
    baseline: [ResultFile], candidate: [ResultFile], options: ComparisonOptions = ComparisonOptions()
  ) throws(ComparisonError) {
    guard let first = baseline.first, !candidate.isEmpty else {
      throw ComparisonError("a comparison needs at least one file of results on each side")
    }
    for file in baseline.dropFirst() + candidate {
      let differences = try RunDifferences.inLoad(first.result, file.result)
      guard differences.isEmpty else {
        throw ComparisonError(
          "\(first.name) and \(file.name) cannot be compared, for their load differs. \(differences.text)")
      }
    }
    try Self.refuseRepetitions(in: baseline)
    try Self.refuseRepetitions(in: candidate)
    let used = (
      baseline: try Self.used(baseline, "baseline", options), candidate: try Self.used(candidate, "candidate", options)
    )
    scenario = first.result.scenario
    load = "\(LoadText.shape(first.result.configuration.shape)), \(LoadText.size(first.result.configuration))"
    tolerancePercent = options.tolerancePercent
    self.baseline = Side(runs: baseline.map { Run($0, isUsed: Self.isUsed($0, options)) })
    self.candidate = Side(runs: candidate.map { Run($0, isUsed: Self.isUsed($0, options)) })
    figures = ComparedFigure.allCases.map { figure in
      Row(
        figure: figure, isGated: options.gates.contains(figure),
        comparison: FigureComparison(
          baseline: used.baseline.compactMap { figure.value(of: $0.result) },
          candidate: used.candidate.compactMap { figure.value(of: $0.result) },
          better: figure.better, tolerancePercent: options.tolerancePercent))
    }
    notes = try ComparisonNotes(baseline: used.baseline, candidate: used.candidate, figures: figures).all
    reasons = figures.filter { $0.isGated && $0.comparison.outcome == .worse }.map(Self.reason)
    if !options.includesInvalid {
      reasons = Self.failures(self.baseline, self.candidate) + reasons
    }
    verdict = reasons.isEmpty ? .notWorse : .worse
  }

  // MARK: Which runs are taken

  private static func isUsed(_ file: ResultFile, _ options: ComparisonOptions) -> Bool {
    options.includesInvalid || file.result.judgement.verdict == .valid && file.result.ending == .completed
  }

  private static func used(
    _ files: [ResultFile], _ side: String, _ options: ComparisonOptions
  ) throws(ComparisonError) -> [ResultFile] {
    let used = files.filter { isUsed($0, options) }
    let leftOut = files.filter { !isUsed($0, options) }.map { "\($0.name): \(Run($0, isUsed: false).state)" }
    let why = leftOut.isEmpty ? "" : " Left out: \(leftOut.joined(separator: "; "))."
    if used.isEmpty {
      throw ComparisonError(
        "no run of the \(side) can be believed, so there is nothing to compare.\(why) "
          + "Mend what the reasons name and run again, or take such runs too with --include-invalid.")
    }
    if used.count < options.leastRuns {
      throw ComparisonError(
        "the \(side) has \(FigureText.counted(UInt64(used.count), "run")) to compare, "
          + "and --min-runs asks for \(options.leastRuns).\(why)")
    }
    return used
  }

  /// One run that is given twice would count as two that agree perfectly.
  private static func refuseRepetitions(in files: [ResultFile]) throws(ComparisonError) {
    for (index, file) in files.enumerated() {
      guard let twin = files[..<index].first(where: { $0.result == file.result }) else { continue }
      throw ComparisonError("\(twin.name) and \(file.name) are one and the same run; give each run once")
    }
  }

  // MARK: What makes the candidate worse

  private static func reason(_ row: Row) -> String {
    let medians = (row.comparison.baselineSummary?.median, row.comparison.candidateSummary?.median)
    guard case (let before?, let after?) = medians else { return "\(row.figure.label) is worse" }
    return "\(row.figure.label): \(row.figure.text(after)) against \(row.figure.text(before)), "
      + "p = \(FigureText.chance(row.comparison.p))"
  }

  private static func failures(_ baseline: Side, _ candidate: Side) -> [String] {
    guard !baseline.runs.contains(where: { $0.verdict == .failed }) else { return [] }
    return candidate.runs.filter { $0.verdict == .failed }.map { run in
      "\(run.file): \(run.state), which no run of the baseline did"
    }
  }
}

extension RunComparison.Run {
  init(_ file: ResultFile, isUsed: Bool) {
    let result = file.result
    self.init(
      file: file.name, startedAt: result.startedAt, target: result.target, verdict: result.judgement.verdict,
      ending: result.ending, reasons: result.judgement.reasons.map(\.code), isUsed: isUsed)
  }

  /// "INVALID (generator-late), interrupted".
  var state: String {
    let codes = reasons.isEmpty ? "" : " (\(reasons.joined(separator: ", ")))"
    return ([LoadText.verdict(verdict) + codes] + [LoadText.ending(ending)].compactMap(\.self)).joined(separator: ", ")
  }
}
