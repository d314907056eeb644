import DiskProbe
import Foundation
import LogStorage
import Synchronization
import Testing

@Suite("A real disk is measured, cell by cell")
struct FlushProfileTests {
  private func measure(
    _ cells: [FlushCell], in directory: String, commits: Int = 30, seconds: Double = 60,
    cancellation: ProbeCancellation = ProbeCancellation(), progress: (Int, FlushCell) -> Void = { _, _ in }
  ) throws(ProbeError) -> FlushProfile {
    try FlushProfile.measure(
      FlushProfileOptions(directory: directory, cells: cells, commits: commits, secondsPerCell: seconds),
      cancellation: cancellation, progress: progress)
  }

  @Test("Every kind of cell has its samples, and nothing is left behind")
  func cells() throws {
    let directory = try EmptyDirectory()
    let cells: [FlushCell] = [
      .file(bytes: 2300, method: .none), .file(bytes: 2300), .file(bytes: 2300, method: .dsync),
      .file(bytes: 256, layout: .growing), .file(bytes: 2300, intervalMicroseconds: 100),
      .file(bytes: 2300, processors: .busy), .log(records: 1), .log(records: 8, intervalMicroseconds: 100),
    ]
    let profile = try measure(cells, in: directory.path)
    #expect(directory.remove())
    #expect(profile.ending == .completed && profile.problem == nil && profile.skipped.isEmpty)
    #expect(profile.series.map(\.cell) == cells)
    for series in profile.series {
      #expect(series.commit.count == 30 && series.commit.maximumNanoseconds > 0 && series.elapsedNanoseconds > 0)
      // One call does both with O_DSYNC, and the control flushes nothing.
      #expect(series.flush?.count == (series.cell.method == .fdatasync ? 30 : nil), "\(series.cell.text)")
      if let flush = series.flush { #expect(flush.sumNanoseconds < series.commit.sumNanoseconds) }
    }
    #expect(profile.series.allSatisfy { (0...1).contains($0.shareOfOthers ?? 0) })
    #expect(profile.series[4].elapsedNanoseconds >= 29 * 100_000, "a pace takes its time")
  }

  @Test("Blocks that were reserved are measured, or the file system is said not to know them")
  func reserved() throws {
    let directory = try EmptyDirectory()
    // More than fits into a file, so that it is begun anew.
    let cell = FlushCell.file(bytes: 8 << 20, layout: .reserved, method: .none)
    let profile = try measure([cell], in: directory.path, commits: 20)
    #expect(directory.remove())
    #expect(profile.series.first?.commit.count == 20 || profile.skipped.first?.cell == cell)
  }

  @Test("Several writers write at once, and all of their samples count")
  func severalWriters() throws {
    let directory = try EmptyDirectory()
    let cells: [FlushCell] = [.file(bytes: 512, writers: 3), .log(records: 1, writers: 2)]
    let profile = try measure(cells, in: directory.path)
    #expect(directory.remove())
    // The first that is done ends the cell for all, so that none is measured alone.
    #expect((30...90).contains(profile.series[0].commit.count))
    #expect((30...60).contains(profile.series[1].commit.count))
  }

  @Test("A cell ends when its time is up")
  func timeIsUp() throws {
    let directory = try EmptyDirectory()
    let profile = try measure(
      [.file(bytes: 512, intervalMicroseconds: 10_000)], in: directory.path, commits: 1_000_000, seconds: 0.1)
    #expect(directory.remove())
    #expect((1...11).contains(profile.series[0].commit.count))
    #expect(profile.ending == .completed)
  }

  @Test("Cancelled between two cells, it keeps the first and removes its files")
  func cancelledBetween() throws {
    let directory = try EmptyDirectory()
    let cancellation = ProbeCancellation()
    let profile = try measure(
      [.file(bytes: 512), .file(bytes: 513)], in: directory.path, cancellation: cancellation
    ) { number, _ in
      if number == 1 { cancellation.cancel() }
    }
    #expect(directory.remove())
    #expect(profile.ending == .interrupted && profile.series.map(\.cell) == [.file(bytes: 512)])
    #expect(profile.text().contains("interrupted"))
  }

  @Test("Cancelled in the middle of a cell, it keeps the samples that it has and removes its files")
  func cancelledWithin() throws {
    let directory = try EmptyDirectory()
    let cancellation = ProbeCancellation()
    let path = directory.path
    let watcher = WriterThread(name: "watcher") {
      // The warm-up has sixteen commits.
      while Self.largestFile(below: path) < 100 * 512 { sched_yield() }
      cancellation.cancel()
    }
    let profile = try measure(
      [.file(bytes: 512, layout: .growing)], in: path, commits: 1_000_000, seconds: 3600, cancellation: cancellation)
    watcher.join()
    #expect(directory.remove())
    #expect(profile.ending == .interrupted)
    #expect((80..<1_000_000).contains(profile.series[0].commit.count))
  }

  private static func largestFile(below path: String) -> Int {
    let files = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
    return files.compactMap { file in
      (try? FileManager.default.attributesOfItem(atPath: path + "/" + file))?[.size] as? Int
    }.max() ?? 0
  }

  @Test("Cancelled before it began, it has nothing and leaves nothing")
  func cancelledBefore() throws {
    let directory = try EmptyDirectory()
    let cancellation = ProbeCancellation()
    cancellation.cancel()
    let profile = try measure([.file(bytes: 512)], in: directory.path, cancellation: cancellation)
    #expect(directory.remove())
    #expect(profile.ending == .interrupted && profile.series.isEmpty && profile.verdict.grade == .undecided)
  }

  @Test("A directory that is not there, a file, and a disk that is too full are refused with what to do")
  func badDirectories() throws {
    let missing = "/tmp/portcullis-no-such-directory"
    #expect(throws: ProbeError.noSuchDirectory(path: missing)) { try measure([.file(bytes: 512)], in: missing) }
    #expect(throws: ProbeError.notADirectory(path: "/etc/passwd")) {
      try measure([.file(bytes: 512)], in: "/etc/passwd")
    }
    #expect(throws: ProbeError.notADirectory(path: "/etc/passwd/x")) {
      try measure([.file(bytes: 512)], in: "/etc/passwd/x")
    }
    let directory = try EmptyDirectory()
    let huge = FlushCell.file(bytes: 1 << 40, writers: 1 << 16)
    let error = #expect(throws: ProbeError.self) { try measure([huge], in: directory.path) }
    #expect(directory.remove())
    guard case .tooFull(_, let free, let needed) = error else {
      Issue.record("it was \(String(describing: error))")
      return
    }
    #expect(needed > free)
    #expect(error?.description.contains("free some space") == true)
  }

  @Test("A file system that takes no files is refused, also to the superuser")
  func notWritable() {
    let error = #expect(throws: ProbeError.self) { try measure([.file(bytes: 512)], in: "/proc/self") }
    #expect(error?.description.contains("/proc/self") == true)
  }

  @Test("A file system in memory is measured and said to be one")
  func inMemory() throws {
    guard (try? ProbedDisk(of: "/dev/shm"))?.isInMemory == true else { return }
    let profile = try measure([.file(bytes: 2300, method: .none), .file(bytes: 2300)], in: "/dev/shm")
    #expect(profile.verdict.grade == .tooFast)
    #expect(profile.text().contains("keeps files in memory"))
  }
}

@Suite("A profile is read by people and by programs")
struct FlushProfileFormTests {
  private func profile() throws -> FlushProfile {
    let directory = try EmptyDirectory()
    defer { _ = directory.remove() }
    var profile = try FlushProfile.measure(
      FlushProfileOptions(
        directory: directory.path, cells: [.file(bytes: 2300, method: .none), .file(bytes: 2300)], commits: 20))
    let fast = Synthetic.logNormal(medianMicroseconds: 170, deviation: 0.1, count: 1500)
    let slow = Synthetic.logNormal(medianMicroseconds: 2700, deviation: 0.15, count: 500, seed: 2)
    profile.series[1] = Synthetic.series(.file(bytes: 2300), fast + slow)
    profile.skipped = [.init(cell: .file(bytes: 1, layout: .reserved), reason: "no \"series\":[] here")]
    return profile
  }

  @Test("It goes through JSON unchanged, one line a cell, and states its schema")
  func roundTrip() throws {
    let profile = try profile()
    let json = try profile.json()
    #expect(try FlushProfile(json: json) == profile)
    let lines = json.split(separator: "\n")
    #expect(lines.filter { $0.contains("\"flush\":{") || $0.contains("\"method\":\"none\"") }.count == 2)
    #expect(json.contains(#""schema":"portcullis.disk/1""#))
    #expect(json.contains(#""interval_microseconds":0"#) && json.contains(#""peak_nanoseconds":"#))
    var empty = profile
    empty.series = []
    #expect(try FlushProfile(json: try empty.json()) == empty)
  }

  @Test("Another schema, and what is no profile at all, are named as such")
  func otherFiles() throws {
    let other = try profile().json().replacing("portcullis.disk/1", with: "portcullis.disk/2")
    let error = #expect(throws: ProfileFileError.self) { try FlushProfile(json: other) }
    #expect(error?.description.contains("portcullis.disk/2") == true)
    #expect(throws: ProfileFileError.self) { try FlushProfile(json: "{}") }
    #expect(throws: ProfileFileError.self) { try FlushProfile(json: "") }
  }

  @Test("The text has a line for each cell, the modes, the verdict and its reason, and draws when asked")
  func text() throws {
    let profile = try profile()
    let text = profile.text()
    #expect(text.split(separator: "\n").filter { $0.contains("2300 B ") }.count >= 2)
    #expect(text.contains("2 modes: 2300 B, prepared, fdatasync, tight, idle: 75 % around"))
    #expect(text.contains("skipped: 1 B, reserved"))
    #expect(text.contains("verdict: \(profile.verdict.grade.rawValue)") && text.contains("because "))
    #expect(!text.contains("█") && profile.text(withHistograms: true).contains("█"))
  }

  @Test("The choices' product has each cell once, and the controls")
  func product() {
    var choice = FlushChoice()
    choice.bytes = [256, 2300]
    choice.methods = [.fdatasync, .none]
    choice.loads = [(1, 0), (3, 0)]
    choice.logRecords = [64]
    let cells = choice.cells
    #expect(Set(cells).count == cells.count)
    #expect(cells.count == 2 + 2 * 3 + 2, "controls; fdatasync alone and by three, and three without; the log")
    #expect(FlushMatrix.full().count == 9 + 3 * 3 * 2 * 3 * 2 + 3 * 3 * 2)
    #expect(FlushMatrix.standard().count == 14 && FlushMatrix.standard()[0].method == .none)
  }
}
