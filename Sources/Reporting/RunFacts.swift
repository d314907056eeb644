// Owns what a page says beside its figures: answers that were wrong or failed, how the load was made, on what machine.
//
// It must never leave out a field of the configuration or of the machine: all that a result has is listed, by name.

import Measurement

struct RunFacts {
  let result: BenchResult

  var sections: [Markup] { [answers, load, machine] }

  /// How the load of a search was made, and on what. Its rate is that of the last run, so it is not repeated.
  static func sections(of result: LimitResult) -> [Markup] {
    let load = [("scenario", result.configuration.operation.name)] + fields(of: result.configuration)
    return [
      RunPage.section("How the load was made", [list(load.filter { !$0.0.contains("rate per second") })]),
      RunPage.section("Machine of the generator", [list(fields(of: result.environment))]),
    ]
  }

  static func list(_ facts: [(String, String)]) -> Markup {
    Markup(
      "dl", ["class": "facts"],
      facts.flatMap { [Markup("dt", text: $0.0), Markup("dd", text: $0.1)] })
  }

  // MARK: Answers

  private var answers: Markup {
    let oracle = result.measured.oracle
    let checked = FigureText.count(oracle.checked)
    var children = [
      Markup(
        "p",
        text: oracle.violations == 0
          ? "\(checked) answers were checked, each with a revision above those before it."
          : "\(FigureText.count(oracle.violations)) WRONG of \(checked) answers that were checked.")
    ]
    if let first = oracle.firstViolation {
      children.append(Self.message("The first wrong answer", first))
    }
    let errors = result.measured.errors.sorted { $0.count > $1.count }
    if errors.isEmpty {
      children.append(Markup("p", text: "No operation failed."))
    }
    children += errors.map { tally in
      Self.message("\(FigureText.count(tally.count)) × \(tally.name) (\(tally.code)), the first", tally.firstMessage)
    }
    return RunPage.section("Answers and errors", children)
  }

  private static func message(_ title: String, _ message: String) -> Markup {
    Markup(
      "div", ["class": "error"], [Markup("p", text: title), Markup("p", ["class": "message"], text: message)])
  }

  // MARK: How and on what

  private var load: Markup {
    var facts = [("scenario", result.scenario), ("warm-up", LoadText.warmUp(result.warmUp))]
    facts.append(("warm-up operations", FigureText.count(result.warmUp.operations)))
    facts += Self.fields(of: result.configuration)
    if let digest = result.configurationDigest { facts.append(("digest of all this", digest)) }
    facts.append(("target", result.target.endpoints.joined(separator: ", ")))
    if let version = result.target.version { facts.append(("target version", version)) }
    if let cluster = result.target.cluster { facts.append(("target cluster", cluster)) }
    return RunPage.section("How the load was made", [Self.list(facts)])
  }

  private var machine: Markup {
    let generator = result.generator
    let facts = [
      ("generator CPU", FigureText.duration(nanoseconds: generator.cpuNanoseconds)),
      ("busiest thread", "\(FigureText.percent(generator.busiestThreadShare)) of the time on a CPU"),
    ]
    return RunPage.section(
      "Machine of the generator",
      [
        Self.list(Self.fields(of: result.environment) + facts),
        Markup(
          "p", ["class": "note"],
          text: "Where the load was made, which is the target's machine too when both share one. What could not be "
            + "found out is not listed."),
      ])
  }

  /// Every field that has a value. A field that is added to a result one day is shown without a change here.
  private static func fields(of value: some Encodable) -> [(String, String)] {
    guard let leaves = try? JSONTree.leaves(of: value) else { return [] }
    return leaves.map { ($0.label, $0.reading) }
  }
}
