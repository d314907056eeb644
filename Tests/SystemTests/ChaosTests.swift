// The soak as a command: a short one passes, one that is ended leaves nothing behind, and its checks see what they are for.

import Chaos
import Foundation
import Glibc
import Testing

@Suite("chaos", .serialized)
struct ChaosTests {
  @Test("a short soak with every kind of fault passes", .timeLimit(.minutes(2)))
  func passes() async throws {
    let directory = try ScratchDirectory()
    let outcome = try await Program.run([
      "chaos", "--for", "18s", "--seed", "11", "--directory", directory("soak"), "--json",
    ])
    #expect(outcome.exitCode == 0, "\(outcome.errors)\n\(outcome.output)")
    #expect(outcome.errors.contains("seed 11"))
    let report = try JSONDecoder().decode(ChaosReport.self, from: Data(outcome.output.utf8))
    #expect(report.verdict == .passed)
    #expect(report.violations == 0)
    for fault in ChaosFault.allCases {
      #expect(report.faultsByKind[fault.rawValue] ?? 0 >= 1, "\(fault) was not carried out")
    }
    #expect(report.plants.made >= 10)
    #expect(report.plants.rejected == report.plants.made)
    #expect(report.rows.refusedStale > 0)
    #expect(report.rows.stored >= report.rows.acknowledged)
  }

  @Test("Ctrl-C ends the load, and the checks follow; no process is left", .timeLimit(.minutes(1)))
  func interrupted() async throws {
    let directory = try ScratchDirectory()
    let (program, started) = try await start(in: directory)
    program.send(SIGINT)
    let code = await program.exitCode()
    await program.waitForEndOfOutput()
    #expect(program.output.contains("Ended early"), "\(program.output)\(program.errors)")
    // Seconds say little, and that is what it says.
    #expect(code == 2, "\(program.output)\(program.errors)")
    try await expectGone(started)
  }

  @Test("a second Ctrl-C ends at once; no process is left", .timeLimit(.minutes(1)))
  func interruptedTwice() async throws {
    let directory = try ScratchDirectory()
    let (program, started) = try await start(in: directory)
    program.send(SIGTERM)
    try await program.waitForErrors("ending early")
    program.send(SIGTERM)
    #expect(await program.exitCode() == 1, "\(program.output)\(program.errors)")
    try await expectGone(started)
  }

  @Test("wrong arguments end with 64 and say what to do")
  func wrongArguments() async throws {
    let directory = try ScratchDirectory()
    try Data().write(to: URL(fileURLWithPath: directory("file")))
    for (arguments, said) in [
      (["--seed", "1"], "--for"), (["--for", "2s"], "at least 10s"), (["--for", "long"], "--for"),
      (["--for", "1m", "--faults", "kill,flood"], "--faults"), (["--for", "1m", "--nodes", "2"], "3 to 7"),
      (["--for", "1m", "--gateways", "0"], "1 to 8"), (["--for", "1m", "--rate", "1"], "10 to 5000"),
      (["--for", "1m", "--directory", directory.path], "new or empty"),
      (["--for", "1m", "--directory", directory("file")], "new or empty"),
    ] {
      let outcome = try await Program.run(["chaos"] + arguments)
      #expect(outcome.exitCode == 64, "\(arguments): \(outcome.errors)")
      #expect(outcome.errors.contains(said), "\(arguments): \(outcome.errors)")
    }
  }

  // MARK: - The checks of rows and grants

  /// Two scopes; in the first a stale row was refused and one has no answer, and is there.
  private var sound: LedgerCheck {
    func row(_ scope: Int, _ number: Int64, _ holder: Int, _ outcome: ChaosRow.Outcome) -> ChaosRow {
      ChaosRow(scope: scope, number: number, holder: holder, outcome: outcome)
    }
    func grant(_ scope: Int, _ number: Int64, _ holder: Int, _ invoked: UInt64, _ returned: UInt64) -> ChaosGrant {
      ChaosGrant(scope: scope, number: number, holder: holder, invoked: invoked, returned: returned, isConfirmed: true)
    }
    return LedgerCheck(
      stored: [
        [
          StoredRow(id: 0, number: 5, holder: 0), StoredRow(id: 2, number: 9, holder: 2),
          StoredRow(id: 4, number: 12, holder: 0),
        ], [StoredRow(id: 1, number: 6, holder: 1)],
      ],
      asked: [
        row(0, 5, 0, .acknowledged), row(1, 6, 1, .acknowledged), row(0, 9, 2, .acknowledged), row(0, 5, 0, .refused),
        row(0, 12, 0, .unknown), row(0, 12, 0, .unknown),
      ],
      grants: [grant(0, 5, 0, 1, 2), grant(1, 6, 1, 1, 3), grant(0, 9, 2, 1, 5), grant(0, 12, 0, 6, 7)])
  }

  @Test("the check of rows takes what is sound and rejects every planted violation")
  func plants() throws {
    #expect(sound.problems == [])
    let plants = LedgerPlant.all(of: sound)
    #expect(plants.count == 5, "\(plants.map(\.name))")
    for plant in plants { #expect(plant.check.problems != [], "it passes \(plant.name)") }
  }

  @Test("the check of rows names what is wrong")
  func named() {
    var check = sound
    check.stored[0].remove(at: 1)
    #expect(check.problems.count == 1 && check.problems[0].contains("row 2 was acknowledged and is not there"))
    check = sound
    check.stored[0].swapAt(0, 1)
    #expect(check.problems.contains { $0.contains("was inserted behind") }, "\(check.problems)")
    check = sound
    check.stored[0].insert(StoredRow(id: 3, number: 5, holder: 0), at: 1)
    #expect(check.problems == ["row 3 was refused and is there: \(check.asked[3])"])
    check = sound
    check.stored[0].append(StoredRow(id: 4, number: 12, holder: 0))
    #expect(check.problems.contains { $0.contains("row 4 is there 2 times") }, "\(check.problems)")
    check = sound
    check.stored[1].append(StoredRow(id: 99, number: 6, holder: 1))
    #expect(check.problems == ["scope 1 has row 99, which nobody asked for"])
    check = sound
    check.grants[3].number = 8
    #expect(check.problems.contains { $0.contains("is not above it") }, "\(check.problems)")
    check = sound
    check.grants[2].number = 5
    #expect(check.problems.contains { $0.contains("was granted twice") }, "\(check.problems)")
    check = sound
    check.stored[0][1].holder = 7
    #expect(check.problems.contains { $0.contains("was not granted") }, "\(check.problems)")
  }

  // MARK: - Processes

  /// A long soak with all its processes: three nodes, two gateways and eight holders.
  private func start(in directory: ScratchDirectory) async throws -> (program: RunningProgram, children: [Int]) {
    let program = try RunningProgram(["chaos", "--for", "10m", "--faults", "kill", "--directory", directory("soak")])
    let started = try await eventually(within: 30, "all processes") {
      let started = children(of: program)
      return started.count == 13 ? started : nil
    }
    return (program, started)
  }

  /// State and parent of a process, the first fields behind its name in parentheses (proc(5)). Nil where there is none.
  private func look(at process: Int) -> (state: Substring, parent: Int)? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      let name = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[name...].split(separator: " ")
    return fields.count > 2 ? (fields[1], Int(fields[2]) ?? 0) : nil
  }

  private func children(of program: RunningProgram) -> [Int] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int($0) }.filter { look(at: $0)?.parent == Int(program.processID) }
  }

  /// One that was killed right before its parent ended is seen for a moment.
  private func expectGone(_ processes: [Int]) async throws {
    for process in processes {
      _ = try await eventually(within: 10, "the end of process \(process)") {
        let state = look(at: process)?.state
        return state == nil || state == "Z" ? true : nil
      }
    }
  }
}
