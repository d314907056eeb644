// Owns the page that a run of the fence's scenarios is shown on: what was tried, what was refused, what got through without
// the fence. One file without a script or anything to load, as RunPage.
//
// It must never show a scenario whose control did not fail as passed: it shows the verdict that it is given.

/// A run of scenarios, as a page needs it.
package struct ConformanceSummary: Sendable {
  package struct Row: Sendable {
    package var number: Int
    /// Whose locks and resource they were, where the page has several.
    package var system: String?
    package var title: String
    package var expectation: String
    /// `pass`, `fail` or `inconclusive`.
    package var verdict: String
    package var staleAttempts: Int
    package var refusals: Int
    package var lostUpdates: Int
    /// What the same attempts did without the fence; or why there was no control.
    package var control: String
    package var seconds: Double
    /// What went against what must be seen, and what a reader should know.
    package var remarks: [String]

    package init(
      number: Int, system: String? = nil, title: String, expectation: String, verdict: String, staleAttempts: Int,
      refusals: Int, lostUpdates: Int, control: String, seconds: Double, remarks: [String]
    ) {
      self.system = system
      (self.number, self.title, self.expectation, self.verdict) = (number, title, expectation, verdict)
      (self.staleAttempts, self.refusals, self.lostUpdates) = (staleAttempts, refusals, lostUpdates)
      (self.control, self.seconds, self.remarks) = (control, seconds, remarks)
    }
  }

  /// The lock-set workload with one system.
  package struct LockSet: Sendable {
    package var system: String
    package var acknowledged: Int
    package var lost: Int
    package var lostPercent: Double
    package var refused: Int
    package var pauses: Int

    package init(system: String, acknowledged: Int, lost: Int, lostPercent: Double, refused: Int, pauses: Int) {
      (self.system, self.acknowledged, self.lost) = (system, acknowledged, lost)
      (self.lostPercent, self.refused, self.pauses) = (lostPercent, refused, pauses)
    }
  }

  /// A scenario that was not played.
  package struct NotPlayed: Sendable {
    package var number: Int
    package var title: String
    package var why: String

    package init(number: Int, title: String, why: String) {
      (self.number, self.title, self.why) = (number, title, why)
    }
  }

  package var startedAt: String
  package var lockSet: [LockSet]
  package var rows: [Row]
  package var notPlayed: [NotPlayed]

  package init(startedAt: String, lockSet: [LockSet] = [], rows: [Row], notPlayed: [NotPlayed] = []) {
    self.startedAt = startedAt
    self.lockSet = lockSet
    self.rows = rows
    self.notPlayed = notPlayed
  }

  /// Where there are several, a row is named by its system too.
  var hasSystems: Bool { rows.contains { $0.system != nil } }

  var passed: Int { rows.count { $0.verdict == "pass" } }
}

/// A run of scenarios as one HTML file. The same run gives the same page, byte for byte.
package func renderHTML(_ summary: ConformanceSummary) -> String {
  Markup.document(ConformancePage(summary: summary).root)
}

struct ConformancePage {
  let summary: ConformanceSummary

  var root: Markup {
    let title = "Conformance: \(headline)"
    return Markup(
      "html", ["lang": "en"],
      [
        RunPage.head(title),
        Markup(
          "body", [:], [header, Markup("main", [:], [cards, table] + lockSet + notPlayed + details), footer]),
      ])
  }

  private var headline: String { "\(summary.passed) of \(summary.rows.count) passed" }

  private var header: Markup {
    let role = summary.passed == summary.rows.count ? "valid" : "failed"
    return Markup(
      "header", [:],
      [
        Markup(
          "h1", [:],
          [Markup("span", text: "conformance"), Markup("span", ["class": "verdict \(role)"], text: headline)]),
        Markup("p", [:], [Markup("time", text: summary.startedAt)]),
        Markup(
          "p", ["class": "soft"],
          text:
            "Each scenario is played twice against real processes: with the fence, where every stale attempt must be "
            + "refused, and without it, where something must get through, or the scenario would show nothing."),
      ])
  }

  private var cards: Markup {
    func card(_ name: String, _ value: Int, _ what: String) -> Markup {
      Markup(
        "div", [:],
        [Markup("dt", text: name), Markup("dd", text: FigureText.count(UInt64(value))), Markup("dd", text: what)])
    }
    let rows = summary.rows
    return Markup(
      "dl", ["class": "cards"],
      [
        card("stale attempts", rows.map(\.staleAttempts).reduce(0, +), "with the fence"),
        card("refused", rows.map(\.refusals).reduce(0, +), "of them"),
        card("updates lost", rows.map(\.lostUpdates).reduce(0, +), "of the rightful holders, with the fence"),
      ])
  }

  private var table: Markup {
    let system = summary.hasSystems ? ["System"] : []
    let names = ["Scenario"] + system + ["Stale", "Refused", "Lost", "Verdict"]
    let rows = summary.rows.enumerated().map { place, row in
      var cells = [Markup("th", [:], [Markup("a", ["href": "#\(identity(place))"], text: "\(row.number)")])]
      if summary.hasSystems { cells.append(Markup("td", text: row.system ?? "")) }
      cells += [row.staleAttempts, row.refusals, row.lostUpdates].map { Markup("td", text: "\($0)") }
      cells.append(Markup("td", ["class": Self.role(row.verdict)], text: row.verdict))
      return Markup("tr", [:], cells)
    }
    return Markup(
      "table", [:],
      [Markup("thead", [:], [Markup("tr", [:], names.map { Markup("th", text: $0) })]), Markup("tbody", [:], rows)])
  }

  /// Nothing where it was not played.
  private var lockSet: [Markup] {
    guard !summary.lockSet.isEmpty else { return [] }
    let names = ["System", "Acknowledged", "Lost", "Share", "Refused", "Pauses"]
    let rows = summary.lockSet.map { row in
      Markup(
        "tr", [:],
        [
          Markup("th", text: row.system), Markup("td", text: "\(row.acknowledged)"),
          Markup("td", ["class": row.lost == 0 ? "valid" : "failed"], text: "\(row.lost)"),
          Markup("td", text: FigureText.decimals(row.lostPercent, 1) + " %"), Markup("td", text: "\(row.refused)"),
          Markup("td", text: "\(row.pauses)"),
        ])
    }
    return [
      RunPage.section(
        "The lock-set workload, by system",
        [
          Markup(
            "table", [:],
            [
              Markup("thead", [:], [Markup("tr", [:], names.map { Markup("th", text: $0) })]),
              Markup("tbody", [:], rows),
            ]),
          Markup(
            "p", ["class": "note"],
            text: "Five writers acquire a lock, read a set, think, write it with one element more and let go; whoever "
              + "holds the lock is stopped for longer than its lease, again and again. Lost are acknowledged elements that "
              + "are missing at the end."),
        ])
    ]
  }

  /// Nothing where everything was.
  private var notPlayed: [Markup] {
    guard !summary.notPlayed.isEmpty else { return [] }
    let rows = summary.notPlayed.map { scenario in
      Markup(
        "tr", [:],
        [
          Markup("th", text: "\(scenario.number)"), Markup("td", text: scenario.title),
          Markup("td", text: scenario.why),
        ])
    }
    return [RunPage.section("Not played", [Markup("table", [:], [Markup("tbody", [:], rows)])])]
  }

  /// Of a row's section.
  private func identity(_ place: Int) -> String {
    "s\(summary.rows[place].number)" + (summary.hasSystems ? "-\(place + 1)" : "")
  }

  private var details: [Markup] { summary.rows.indices.map { details(summary.rows[$0], identity($0)) } }

  private func details(_ row: ConformanceSummary.Row, _ identity: String) -> Markup {
    func fact(_ name: String, _ value: String) -> [Markup] { [Markup("dt", text: name), Markup("dd", text: value)] }
    var facts =
      fact("must be seen", row.expectation)
      + fact(
        "with the fence",
        "\(row.staleAttempts) stale attempts, \(row.refusals) refused, \(row.lostUpdates) updates lost")
      + fact("without it", row.control) + fact("time", FigureText.decimals(row.seconds, 1) + " s")
    for remark in row.remarks { facts += fact("remark", remark) }
    return Markup(
      "section", ["id": identity],
      [
        Markup(
          "h3", [:],
          [
            Markup("span", text: "\(row.number). \(row.system.map { "\($0): " } ?? "")\(row.title) "),
            Markup("span", ["class": Self.role(row.verdict)], text: row.verdict),
          ]),
        Markup("dl", ["class": "facts"], facts),
      ])
  }

  private var footer: Markup {
    Markup(
      "footer", ["class": "note"],
      text: "Made by portcullis conformance --html. What the scenarios and the verdicts mean: docs/conformance.md.")
  }

  private static func role(_ verdict: String) -> String {
    switch verdict {
    case "pass": "valid"
    case "fail": "failed"
    default: "invalid"
    }
  }
}
