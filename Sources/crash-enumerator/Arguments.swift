// Owns the command line, and the three processes that a run is made of: the one that was asked for, one that is recorded,
// and one that opens crash states and may itself die of them.

import CrashStates
import Glibc

struct Arguments {
  static let usage = """
    usage: crash-enumerator log | sqlite | engine [--seeds FIRST-LAST] [--steps N] [--samples N] [--exhaustive N]
                                                  [--scratch DIRECTORY] [--synchronous FULL | NORMAL | OFF]
                                                  [--planted ignored-flushes | no-sync | no-meta-sync | unflushed-names]
    """

  private var role = ""
  private var options: [String: String] = [:]

  init(_ arguments: ArraySlice<String>) throws(Failure) {
    var rest = arguments
    role = rest.popFirst() ?? ""
    while let name = rest.popFirst() {
      guard name.hasPrefix("--"), let value = rest.popFirst() else { throw Failure(Self.usage) }
      options[String(name.dropFirst(2))] = value
    }
  }

  private func number(_ name: String, or fallback: Int) throws(Failure) -> Int {
    guard let text = options[name] else { return fallback }
    guard let number = Int(text), number >= 0 else { throw Failure("--\(name) is a number, not \(text)") }
    return number
  }

  private var seeds: ClosedRange<Int> {
    get throws(Failure) {
      let parts = (options["seeds"] ?? "1-6").split(separator: "-").compactMap { Int($0) }
      guard let first = parts.first, let last = parts.last, first <= last else {
        throw Failure("--seeds is FIRST-LAST")
      }
      return first...last
    }
  }

  private var scratch: String { options["scratch"] ?? "/dev/shm/portcullis-crash-\(getpid())" }
  private var real: String { scratch + "/real" }
  private var state: String { scratch + "/state" }

  func run() throws -> Int32 {
    switch role {
    case "log", "sqlite", "engine": return try runSeeds()
    case "record-log":
      var work = try LogWork(try logPlan, directory: real + "/log", marks: try Marks(path: scratch + "/marks"))
      try work.run()
      return 0
    case "record-sqlite":
      let marks = try Marks(path: scratch + "/marks")
      try sqlitePlan.run(in: real, synchronous: options["synchronous"] ?? "FULL", marks: marks)
      return 0
    case "record-engine":
      try enginePlan.run(in: real, marks: try Marks(path: scratch + "/marks"))
      return 0
    case "check-log":
      var check = LogCheck(try logPlan, path: state + "/log")
      return try self.check { check.problem($0) }
    case "check-sqlite":
      let plan = try sqlitePlan
      return try self.check { plan.problem(in: state, $0) }
    case "check-engine":
      var check = EngineCheck(try enginePlan)
      return try self.check { check.problem(in: state, $0) }
    default: throw Failure(Self.usage)
    }
  }

  private var logPlan: LogPlan {
    get throws(Failure) { LogPlan(seed: UInt64(try number("seed", or: 1)), steps: try number("steps", or: 60)) }
  }

  private var sqlitePlan: SQLitePlan {
    get throws(Failure) {
      SQLitePlan(seed: UInt64(try number("seed", or: 1)), transactions: try number("steps", or: 60))
    }
  }

  private var enginePlan: EnginePlan {
    get throws(Failure) { EnginePlan(seed: UInt64(try number("seed", or: 1)), steps: try number("steps", or: 60)) }
  }

  /// A directory for each seed, removed unless something was found in it.
  private func runSeeds() throws -> Int32 {
    try Files.makeDirectory(scratch)
    var isFine = true
    for seed in try seeds {
      let own = "\(scratch)/\(seed)"
      try Files.makeDirectory(own)
      try Files.makeDirectory(own + "/real")
      var passed: [String] = ["--seed", "\(seed)", "--scratch", own]
      for name in ["steps", "samples", "exhaustive", "planted", "synchronous"] {
        if let value = options[name] { passed += ["--" + name, value] }
      }
      let recorded = try Processes.runSelf(
        ["record-" + role] + passed,
        environment: [
          "LD_PRELOAD=" + Processes.recorder, "PORTCULLIS_RECORD_BELOW=\(own)/real",
          "PORTCULLIS_RECORD_TO=\(own)/recording", "PORTCULLIS_RECORD_MARKS=\(own)/marks",
        ])
      guard recorded == 0 else { throw Failure("the recorded program ended with \(recorded)") }
      let result = try Processes.runSelf(["check-" + role] + passed)
      if result < 0 { print("seed=\(seed) failures=1\n  reading a crash state ended in signal \(-result)") }
      guard result <= 1 else { throw Failure("the checking program ended with \(result)") }
      if result == 0 { Files.remove(own) } else { isFine = false }
    }
    if isFine { rmdir(scratch) } else { print("what was found is kept in \(scratch)") }
    return isFine ? 0 : 1
  }

  /// Shows every crash state of the recording to `problem`, in `state`.
  private func check(_ problem: (Progress) -> String?) throws -> Int32 {
    let calls = try Recording.parse(try Files.read(scratch + "/recording"))
    try Replay.check(calls, against: try Files.image(of: real))
    let progress = try Progress.all(in: calls)
    let bounds = CrashStates.Bounds(
      exhaustiveParts: try number("exhaustive", or: 6), sampledSubsets: try number("samples", or: 32))
    let seed = try number("seed", or: 1)
    var states = CrashStates(bounds: bounds, seed: UInt64(seed))
    let defect = try options["planted"].map { (name) throws(Failure) in
      guard let defect = PlantedDefect(rawValue: name) else { throw Failure(Self.usage) }
      return defect
    }
    let isMeantToFail = defect != nil || options["synchronous"].map { $0 != "FULL" } ?? false
    var (failures, first): (Int, [String]) = (0, [])
    var failure: Failure?
    try states.enumerate(defect?.plant(in: calls) ?? calls) { state in
      do throws(Failure) { try Files.lay(state.image, in: self.state) } catch { failure = error }
      if let found = problem(progress[state.marks]) {
        failures += 1
        let text = "after call \(state.calls) and mark \(state.marks): \(found)"
        if first.count < 5, !first.contains(text) { first.append(text) }
      }
      // Of a planted defect one proof is enough.
      return failure == nil && (failures == 0 || !isMeantToFail)
    }
    if let failure { throw failure }
    let count = states.count
    print(
      "seed=\(seed) calls=\(calls.count) points=\(count.points) exhaustive=\(count.exhaustivePoints) "
        + "subsets=\(count.subsets) distinct=\(count.distinct) checked=\(count.shown) failures=\(failures)")
    for text in first { print("  \(text)") }
    return failures == 0 ? 0 : 1
  }
}
