// Owns the command line, and the three processes that a run is made of: the one that was asked for, one that is recorded,
// and one that opens crash states and may itself die of them.

import CrashStates
import Glibc

struct Arguments {
  static let usage = """
    usage: crash-enumerator log [--seeds FIRST-LAST] [--steps N] [--samples N] [--exhaustive N] [--scratch DIRECTORY]
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

  private var planted: PlantedDefect? {
    get throws(Failure) {
      guard let name = options["planted"] else { return nil }
      guard let defect = PlantedDefect(rawValue: name) else { throw Failure(Self.usage) }
      return defect
    }
  }

  private var scratch: String { options["scratch"] ?? "/dev/shm/portcullis-crash-\(getpid())" }

  func run() throws -> Int32 {
    switch role {
    case "log": return try runSeeds()
    case "record-log":
      let plan = LogPlan(seed: UInt64(try number("seed", or: 1)), steps: try number("steps", or: 60))
      try LogWork.run(plan, directory: scratch + "/real/log", marks: try Marks(path: scratch + "/marks"))
      return 0
    case "check-log": return try check()
    default: throw Failure(Self.usage)
    }
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
      for name in ["steps", "samples", "exhaustive", "planted"] {
        if let value = options[name] { passed += ["--" + name, value] }
      }
      let recorded = try Processes.runSelf(
        ["record-log"] + passed,
        environment: [
          "LD_PRELOAD=" + Processes.recorder, "PORTCULLIS_RECORD_BELOW=\(own)/real",
          "PORTCULLIS_RECORD_TO=\(own)/recording", "PORTCULLIS_RECORD_MARKS=\(own)/marks",
        ])
      guard recorded == 0 else { throw Failure("the recorded program ended with \(recorded)") }
      let result = try Processes.runSelf(["check-log"] + passed)
      if result < 0 { print("seed=\(seed) failures=1\n  reading a crash state ended in signal \(-result)") }
      if result == 0 { Files.remove(own) } else { isFine = false }
    }
    if isFine { rmdir(scratch) } else { print("what was found is kept in \(scratch)") }
    return isFine ? 0 : 1
  }

  private func check() throws -> Int32 {
    let seed = UInt64(try number("seed", or: 1))
    let plan = LogPlan(seed: seed, steps: try number("steps", or: 60))
    let calls = try Recording.parse(try Files.read(scratch + "/recording"))
    try Replay.check(calls, against: try Files.image(of: scratch + "/real"))
    let bounds = CrashStates.Bounds(
      exhaustiveParts: try number("exhaustive", or: 6), sampledSubsets: try number("samples", or: 40))
    var states = CrashStates(bounds: bounds, seed: seed)
    var check = try LogCheck(plan, path: scratch + "/state/log", calls: calls)
    let cut = (try planted).map { $0.plant(in: calls) } ?? calls
    var (failures, first): (Int, [String]) = (0, [])
    var problem: Failure?
    try states.enumerate(cut) { state in
      do throws(Failure) { try Files.lay(state.image, in: scratch + "/state") } catch { problem = error }
      if let found = check.problem(afterMarks: state.marks) {
        failures += 1
        if first.count < 5 { first.append("after call \(state.calls) and mark \(state.marks): \(found)") }
      }
      // Of a planted defect one proof is enough.
      return problem == nil && (failures == 0 || cut == calls)
    }
    if let problem { throw problem }
    let count = states.count
    print(
      "seed=\(seed) calls=\(calls.count) points=\(count.points) exhaustive=\(count.exhaustivePoints) "
        + "subsets=\(count.subsets) distinct=\(count.distinct) checked=\(count.shown) failures=\(failures)"
    )
    for text in first { print("  \(text)") }
    return failures == 0 ? 0 : 1
  }
}
