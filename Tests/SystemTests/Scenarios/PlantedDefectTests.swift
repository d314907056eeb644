// A rule is taken away from the shipped programs, one at a time, and the scenarios that are about it must turn red. Without
// this a green run could mean that nobody looks.
//
// The library `Tests/PlantedDefects` stands between a program and SQLite or its clock, and changes what it sees there.

import Conformance
import Foundation
import Testing

@Suite("planted defects", .serialized, .timeLimit(.minutes(2)))
struct PlantedDefectTests {
  struct Defect: Sendable, CustomTestStringConvertible {
    /// As the library knows it.
    let name: String
    /// The scenario that is about the rule, and how it complains.
    let red: Int
    let complaint: String
    /// One that the rule has no part in; nil where every scenario is about it.
    let green: Int?

    var testDescription: String { name }
  }

  static let defects = [
    Defect(name: "no-fence", red: 1, complaint: "landed", green: nil),
    Defect(name: "no-barrier", red: 2, complaint: "landed", green: 1),
    Defect(name: "early-expiry", red: 7, complaint: "before", green: 1),
    Defect(name: "no-incarnation", red: 15, complaint: "landed", green: 1),
  ]

  /// What of the command's JSON is looked at.
  private struct Report: Decodable {
    struct Scenario: Decodable {
      struct Play: Decodable {
        let landed: Int
        let failures: [String]
      }
      let number: Int
      let verdict: Verdict
      let fenced: Play
    }
    let scenarios: [Scenario]
  }

  @Test("the scenario of a rule fails where the rule is gone, and another passes", arguments: defects)
  func turnsRed(_ defect: Defect) async throws {
    let library = URL(fileURLWithPath: Program.path).deletingLastPathComponent()
      .appendingPathComponent("libplanted_defects.so").path
    try #require(FileManager.default.isReadableFile(atPath: library), "\(library) was not built")
    let scenarios = [defect.green, defect.red].compactMap(\.self)
    let run = try await Program.run(
      ["conformance", "--quick", "--json", "--scenario", scenarios.map(String.init).joined(separator: ",")],
      environment: ["LD_PRELOAD": library, "PORTCULLIS_DEFECT": defect.name])
    #expect(run.exitCode == 1, "\(run.errors)")
    let report = try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
    #expect(report.scenarios.map(\.number) == scenarios)
    for green in report.scenarios where green.number == defect.green {
      #expect(green.verdict == .pass, "\(green.fenced)")
    }
    let red = try #require(report.scenarios.first { $0.number == defect.red })
    #expect(red.verdict == .fail, "\(red.fenced)")
    switch defect.complaint {
    case "landed": #expect(red.fenced.landed > 0, "\(red.fenced)")
    default: #expect(red.fenced.failures.contains { $0.contains(defect.complaint) }, "\(red.fenced)")
    }
  }

  @Test("a defect that is not known ends the program: a test without its defect would show nothing")
  func unknown() async throws {
    let library = URL(fileURLWithPath: Program.path).deletingLastPathComponent()
      .appendingPathComponent("libplanted_defects.so").path
    let run = try await Program.run(["--version"], environment: ["LD_PRELOAD": library, "PORTCULLIS_DEFECT": "none"])
    #expect(run.exitCode == 70 && run.errors.contains("not known"), "\(run.exitCode) \(run.errors)")
  }
}
