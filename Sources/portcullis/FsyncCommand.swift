// `fsync`: what a disk takes to make a commit durable.

import ArgumentParser
import Commands
import DiskProbe
import Foundation

struct Fsync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure how long a disk takes to make a commit durable, and judge it.",
    discussion: """
      Examples:
        portcullis fsync /var/lib/portcullis
        portcullis fsync /var/lib/portcullis --full --output json > disk.json
        portcullis fsync . --size 2300,64KiB --layout reserved --method fdatasync,dsync --writers 1,3 --histogram

      Without choices it takes half a minute or so: writes of 2300 bytes tight, paced, by three at once, with busy
      processors, with O_DSYNC, on blocks never written before and on a growing file, a control without any flush, and
      the log of a node. --full measures all combinations, which takes five to ten minutes. With --size, --layout,
      --method, --writers, --interval, --cpu or --records exactly their combinations are measured, and the control.

      Percentiles need samples: the 99th a thousand, the 99.9th ten thousand. Ctrl-C ends it with what it has by then.
      docs/disk-profile.md says how to read the verdict, and has the form of the JSON.
      Exit codes: 0 measured, whatever the verdict; 1 an error; 130 ended by Ctrl-C.
      """)

  @Argument(help: "A directory on the disk in question. What is written there is removed again.")
  var directory = "."

  @Flag(help: "All combinations, ten thousand commits each.")
  var full = false

  @Option(help: "Bytes in each write, with commas: 2300, 64KiB.")
  var size: CommaList<ByteCount>?

  @Option(help: "What is written to, with commas: prepared (written before), reserved (fallocate), growing.")
  var layout: CommaList<FlushCell.Layout>?

  @Option(help: "What waits for the disk, with commas: fdatasync, dsync (O_DSYNC), none.")
  var method: CommaList<FlushCell.Method>?

  @Option(help: "How many write at once, each to a file of its own; with commas.")
  var writers: CommaList<Int>?

  @Option(help: "From one commit to the next, with commas: 500us, 2ms; 0 is a tight loop.")
  var interval: CommaList<IntervalArgument>?

  @Option(help: "idle, busy, or both with a comma: busy keeps every processor at work.")
  var cpu: CommaList<FlushCell.Processors>?

  @Option(help: "Also measure the log of a node, with so many records of 256 bytes a commit; with commas.")
  var records: CommaList<Int>?

  @Option(help: "Commits of each writer in each cell. Default: 2000, with --full 10000.")
  var commits: Int?

  @Option(help: "Seconds for each cell at most. Default: 3, with --full 5.")
  var seconds: Double?

  @Flag(help: "Draw the distribution of each cell.")
  var histogram = false

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  private var hasChoices: Bool {
    size != nil || layout != nil || method != nil || writers != nil || interval != nil || cpu != nil || records != nil
  }

  func validate() throws {
    guard !full || !hasChoices else {
      throw ValidationError("--full measures all combinations: leave out what chooses some, or leave out --full")
    }
    try require(commits.map { [$0] }, "--commits", 10...1_000_000)
    try require(size?.values.map(\.bytes), "--size", 1...16 << 20)
    try require(writers?.values, "--writers", 1...64)
    try require(records?.values, "--records", 1...4096)
    if let seconds, !(seconds >= 0.1 && seconds <= 3600) { throw ValidationError("--seconds takes 0.1 to 3600") }
    guard histogram == false || output == .text else {
      throw ValidationError("--histogram draws on a terminal: JSON holds the whole distribution anyway")
    }
  }

  private func require(_ values: [Int]?, _ option: String, _ range: ClosedRange<Int>) throws {
    guard let wrong = values?.first(where: { !range.contains($0) }) else { return }
    throw ValidationError("\(option) takes \(range.lowerBound) to \(range.upperBound), not \(wrong)")
  }

  private var cells: [FlushCell] {
    guard hasChoices else { return full ? FlushMatrix.full() : FlushMatrix.standard() }
    var choice = FlushChoice()
    if let size { choice.bytes = size.values.map(\.bytes) }
    if let layout { choice.layouts = layout.values }
    if let method { choice.methods = method.values }
    if let cpu { choice.processors = cpu.values }
    if let records { choice.logRecords = records.values }
    choice.loads = (writers?.values ?? [1]).flatMap { writers in
      (interval?.values ?? [.tight]).map { (writers, $0.microseconds) }
    }
    return choice.cells
  }

  func run() async throws {
    let options = FlushProfileOptions(
      directory: directory, cells: cells, commits: commits ?? (full ? 10_000 : 2000),
      secondsPerCell: seconds ?? (full ? 5 : 3))
    let cancellation = ProbeCancellation()
    let signals = Signals()
    let (outcome, signal) = await withTaskGroup(of: Int32?.self) { group in
      group.addTask {
        let signal = await signals.first()
        if signal != nil { cancellation.cancel() }
        return signal
      }
      let outcome = await Self.measure(options, cancellation)
      group.cancelAll()
      return (outcome, await group.next() ?? nil)
    }
    let profile: FlushProfile
    switch outcome {
    case .failure(let error): throw CommandFailure(Commands.ExitCode.failed, "\(error)")
    case .success(let measured): profile = measured
    }
    let wasStopped = profile.ending == .interrupted
    guard !profile.series.isEmpty || !wasStopped else {
      throw CommandFailure(128 + (signal ?? SIGINT), "stopped by a signal before anything was measured")
    }
    announce(output == .json ? try profile.json() : profile.text(withHistograms: histogram))
    if let problem = profile.problem { throw CommandFailure(Commands.ExitCode.failed, problem) }
    if wasStopped { Foundation.exit(128 + (signal ?? SIGINT)) }
  }

  /// On a thread of its own, since flushes block.
  private static func measure(
    _ options: FlushProfileOptions, _ cancellation: ProbeCancellation
  ) async -> Result<FlushProfile, ProbeError> {
    let isTerminal = isatty(STDERR_FILENO) == 1
    @Sendable func show(_ text: String) {
      if isTerminal { FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8)) }
    }
    return await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        let result = Result { () throws(ProbeError) in
          try FlushProfile.measure(options, cancellation: cancellation) { number, cell in
            show("\(number + 1) of \(options.cells.count): \(cell.text)")
          }
        }
        show("")
        continuation.resume(returning: result)
      }
    }
  }
}

extension FlushCell.Layout: ExpressibleByArgument {}
extension FlushCell.Method: ExpressibleByArgument {}
extension FlushCell.Processors: ExpressibleByArgument {}

/// Values with commas between them, each taken once.
struct CommaList<Element: ExpressibleByArgument & Hashable & Sendable>: ExpressibleByArgument, Sendable {
  let values: [Element]

  init?(argument: String) {
    var values: [Element] = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let value = Element(argument: part.trimmingCharacters(in: .whitespaces)) else { return nil }
      if !values.contains(value) { values.append(value) }
    }
    self.values = values
  }

  static var allValueStrings: [String] { Element.allValueStrings }
}

/// `2300`, `64KiB`, `1MiB`.
struct ByteCount: ExpressibleByArgument, Hashable, Sendable {
  let bytes: Int

  init?(argument: String) {
    let digits = argument.prefix { $0.isNumber }
    let factors = ["": 1, "B": 1, "KiB": 1024, "MiB": 1 << 20]
    guard let amount = Int(digits), let factor = factors[String(argument.dropFirst(digits.count))] else { return nil }
    let (bytes, overflow) = amount.multipliedReportingOverflow(by: factor)
    guard !overflow else { return nil }
    self.bytes = bytes
  }
}

/// A short time between two commits: `500us`, `2ms`, `1s`; `0` is none. A second at most, so that Ctrl-C is heard.
struct IntervalArgument: ExpressibleByArgument, Hashable, Sendable {
  static let tight = IntervalArgument(microseconds: 0)
  let microseconds: Int

  private init(microseconds: Int) { self.microseconds = microseconds }

  init?(argument: String) {
    let digits = argument.prefix { $0.isNumber || $0 == "." }
    let factors = ["us": 1.0, "µs": 1.0, "ms": 1000, "s": 1_000_000]
    let unit = String(argument.dropFirst(digits.count))
    guard let amount = Double(digits), let factor = amount == 0 && unit.isEmpty ? 1 : factors[unit],
      amount * factor <= 1_000_000, amount == 0 || amount * factor >= 1
    else { return nil }
    microseconds = Int((amount * factor).rounded())
  }
}
