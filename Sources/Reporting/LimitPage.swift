// Owns the page that a search for the limit is shown on: the interval first, then latency against the offered rate, what
// binds, and every run.
//
// It must never name one number as the limit, and never draw a latency that the samples do not support.

package import Measurement

/// A search as one HTML file.
package func renderHTML(_ result: LimitResult) -> String {
  Markup.document(LimitPage(result: result).root)
}

struct LimitPage {
  let result: LimitResult

  var root: Markup {
    Markup(
      "html", ["lang": "en"],
      [
        RunPage.head("\(name) limit: \(LimitText.interval(result))"),
        Markup("body", [:], [header, Markup("main", [:], sections), footer]),
      ])
  }

  private var name: String { result.configuration.operation.name }

  private var header: Markup {
    let role = result.isComplete ? "valid" : "invalid"
    var children = [
      Markup(
        "h1", [:],
        [
          Markup("span", text: "\(name) limit"),
          Markup("span", ["class": "verdict \(role)"], text: result.isComplete ? "found" : "cut short"),
        ]),
      Markup("p", text: "With \(LimitText.objective(result)): \(LimitText.interval(result))."),
    ]
    if let stopped = result.stopped {
      children.append(Markup("ul", ["class": "reasons invalid"], [Markup("li", [:], [Markup("span", text: stopped)])]))
    } else if !result.isComplete {
      children.append(Markup("p", text: "The search was stopped before its end: these are the runs until then."))
    }
    children.append(Markup("p", text: LoadText.target(result.target)))
    let size = LoadText.size(result.configuration)
    children.append(Markup("p", ["class": "soft"], text: "open loop, \(size), seed \(result.configuration.seed)"))
    return Markup("header", [:], children)
  }

  private var footer: Markup {
    Markup(
      "footer", ["class": "note"],
      text: "Made by portcullis report html from a result of the schema \(result.schema), measured with a "
        + "\(result.environment.buildConfiguration) build. What the figures mean: docs/measuring-reports.md.")
  }

  // MARK: The sections

  private var sections: [Markup] {
    [cards, RunPage.section("Latency against offered load", charts), binding, runs]
      + RunFacts.sections(of: result)
  }

  private var cards: Markup {
    func rate(_ value: Double?) -> String { value.map { "\(FigureText.amount($0))/s" } ?? "–" }
    let share = FigureText.amount(100 * LimitResult.operatingShare)
    let cards = [
      ("holds", rate(result.holdsPerSecond), "the highest that did"),
      ("does not hold", rate(result.failsPerSecond), "the lowest that did not"),
      ("recommended", rate(result.operatingPerSecond), "\(share) % of what held"),
      ("runs", FigureText.count(UInt64(result.trials.count)), "each edge up to \(LimitSearch.runsOfAnEdge) times"),
    ]
    let items = cards.map { name, value, more in
      Markup("div", [:], [Markup("dt", text: name), Markup("dd", text: value), Markup("dd", text: more)])
    }
    return Markup("section", ["aria-label": "Key figures"], [Markup("dl", ["class": "cards"], items)])
  }

  private var charts: [Markup] {
    guard let latency = LimitChart.latency(result), let rate = LimitChart.achieved(result) else {
      return [Markup("p", text: "No run has figures to be drawn.")]
    }
    return [
      RunPage.figure(
        "p50 and p99", latency,
        "From the intended start, against the rate that was offered; both axes are logarithmic. A dot is a run, the line goes "
          + "through the middle one of each rate. Shaded: the limit lies in here. A run with too few answers for a percentile "
          + "has no dot."),
      RunPage.figure(
        "Answers a second", rate, "Against the rate that was offered. What lies below the dashed line was not answered."
      ),
    ]
  }

  private var binding: Markup {
    RunPage.section(
      "What binds",
      [
        Markup(
          "p", text: LimitText.binding(result).prefix(1).uppercased() + LimitText.binding(result).dropFirst() + "."),
        Markup(
          "p", ["class": "note"],
          text:
            "What was busy at the lowest rate that did not hold: processors from 85 % of the time on, a disk from 80 % on. "
            + "The target's own are seen where its nodes serve their metrics."),
      ])
  }

  private var runs: Markup {
    let trials = result.trials.sorted { $0.ratePerSecond < $1.ratePerSecond }
    let head = ["offered", "achieved", "p50", "p99", "did not hold because of"]
    let figures = trials.map { trial in
      [
        Self.rate(trial.ratePerSecond), Self.rate(trial.achievedPerSecond),
        FigureText.duration(nanoseconds: trial.p50Nanoseconds), FigureText.duration(nanoseconds: trial.p99Nanoseconds),
        trial.reasons.joined(separator: ", "),
      ]
    }
    return RunPage.section(
      "Runs",
      [
        Self.table(head, figures), Markup("h3", text: "What was busy"),
        Self.table(LimitText.busyHead, trials.map(busy)),
        Markup(
          "p", ["class": "note"],
          text:
            "Here is the machine of the generator. Cores are processors that were kept busy; of several followers the "
            + "busiest is shown. Flushing is the share of the time in which the leader's log was being flushed."),
      ])
  }

  private func busy(_ trial: LimitTrial) -> [String] { [Self.rate(trial.ratePerSecond)] + LimitText.busy(trial) }

  private static func rate(_ value: Double) -> String { "\(FigureText.amount(value))/s" }

  /// The first cell of each row is its name.
  private static func table(_ head: [String], _ rows: [[String]]) -> Markup {
    let body = rows.map { cells in
      Markup(
        "tr", [:], [Markup("th", ["scope": "row"], text: cells[0])] + cells.dropFirst().map { Markup("td", text: $0) })
    }
    let header = head.map { Markup("th", ["scope": "col"], text: $0) }
    return Markup(
      "div", ["class": "scroll"],
      [Markup("table", [:], [Markup("thead", [:], [Markup("tr", [:], header)]), Markup("tbody", [:], body)])])
  }
}
