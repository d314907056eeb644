// Owns the measuring of a disk, cell by cell, and the value that comes out of it.
//
// It must never judge by one tight loop alone: a disk that is kept busy may answer ten times faster, or slower, than
// one that is asked now and then, and a node at rest asks now and then.
//
// It writes into a directory of its own inside the one that is asked about, and removes it again however it ends.

import Glibc

/// One cell, and how long each answer took.
package struct FlushSeries: Sendable, Equatable, Codable {
  package var cell: FlushCell
  /// From handing the bytes over until they were durable: what a commit waits for.
  package var commit: FlushDistribution
  /// The flush alone, without the write before it: what fio calls sync latency, and etcd's guide is about. Nil where
  /// one call does both, and where nothing is flushed.
  package var flush: FlushDistribution?
  /// The modes of `commit`.
  package var modes: [FlushMode]
  package var elapsedNanoseconds: UInt64
  /// How much of the processors other programs took meanwhile, between 0 and 1. Nil for a cell that was too short to say.
  package var shareOfOthers: Double?

  package init(
    cell: FlushCell, commit: FlushDistribution, flush: FlushDistribution?, elapsedNanoseconds: UInt64,
    shareOfOthers: Double? = nil
  ) {
    self.cell = cell
    self.commit = commit
    self.flush = flush
    modes = commit.modes
    self.elapsedNanoseconds = elapsedNanoseconds
    self.shareOfOthers = shareOfOthers
  }
}

package struct FlushProfileOptions: Sendable {
  /// An existing directory on the disk that is asked about.
  package var directory: String
  package var cells: [FlushCell]
  /// Of each writer of a cell, unless the time is up before.
  package var commits: Int
  package var secondsPerCell: Double

  package init(
    directory: String, cells: [FlushCell] = FlushMatrix.standard(), commits: Int = 2000, secondsPerCell: Double = 3
  ) {
    precondition(commits > 0 && secondsPerCell > 0 && !cells.isEmpty, "nothing would be measured")
    precondition(cells.allSatisfy { $0.bytes > 0 && $0.records > 0 && $0.writers > 0 }, "a commit would be empty")
    precondition(cells.allSatisfy { $0.intervalMicroseconds >= 0 }, "an interval is negative")
    self.directory = directory
    self.cells = cells
    self.commits = commits
    self.secondsPerCell = secondsPerCell
  }

  /// What the largest of the cells takes on the disk; one is removed before the next begins.
  package var neededBytes: Int {
    cells.map { cell in
      // A log holds its journal, what was moved out of it, and what it keeps free for hard times.
      let each = cell.subject == .file ? cell.fileBytes : (64 << 20) + 3 * commits * cell.records * (cell.bytes + 64)
      return cell.writers * each
    }.max() ?? 0
  }
}

/// What a disk's flushes cost, and what to make of it.
package struct FlushProfile: Sendable, Equatable, Codable {
  /// Changes when a reader of the old form would trip over the new one.
  package static let currentSchema = "portcullis.disk/1"

  package enum Ending: String, Sendable, Codable {
    /// Every cell was measured that this file system can be asked.
    case completed
    /// Somebody stopped it. The cell that was under way then has fewer samples.
    case interrupted
    /// An error ended it: `problem` says which. What was measured before is there.
    case failed
  }

  package struct SkippedCell: Sendable, Equatable, Codable {
    package var cell: FlushCell
    package var reason: String

    package init(cell: FlushCell, reason: String) {
      self.cell = cell
      self.reason = reason
    }
  }

  package var schema = FlushProfile.currentSchema
  /// In UTC, as ISO 8601.
  package var startedAt: String
  package var disk: ProbedDisk
  package var commitsPerWriter: Int
  package var secondsPerCell: Double
  package var ending: Ending
  package var problem: String?
  package var verdict: FlushVerdict
  package var skipped: [SkippedCell]
  package var series: [FlushSeries]

  /// Blocks the calling thread until all cells are measured; not for the cooperative pool.
  /// - Parameter progress: told of each cell before it begins, counted from 0.
  /// - Throws: when nothing could be measured. After the first cell an error ends the profile instead, which says so.
  package static func measure(
    _ options: FlushProfileOptions, cancellation: ProbeCancellation = ProbeCancellation(),
    progress: (_ number: Int, _ cell: FlushCell) -> Void = { _, _ in }
  ) throws(ProbeError) -> FlushProfile {
    let disk = try ProbedDisk(of: options.directory)
    guard disk.freeBytes >= options.neededBytes else {
      throw .tooFull(path: options.directory, freeBytes: disk.freeBytes, neededBytes: options.neededBytes)
    }
    var profile = FlushProfile(startedAt: utcNow(), disk: disk, options: options)
    let scratch = try ScratchDirectory(in: options.directory)
    defer { scratch.remove() }
    for (number, cell) in options.cells.enumerated() where !cancellation.isCancelled {
      progress(number, cell)
      do throws(ProbeError) {
        let run = CellRun(
          cell, in: scratch.path, commits: options.commits, limitNanoseconds: UInt64(options.secondsPerCell * 1e9),
          cancellation: cancellation)
        if let series = try run.take() { profile.series.append(series) }
      } catch .cannotReserve {
        profile.skipped.append(
          SkippedCell(cell: cell, reason: "this file system takes no blocks ahead (fallocate)"))
      } catch {
        guard !profile.series.isEmpty else { throw error }
        profile.problem = "\(cell.text): \(error)"
        profile.ending = .failed
        break
      }
      scratch.clear()
    }
    if profile.ending == .completed, cancellation.isCancelled { profile.ending = .interrupted }
    profile.verdict = FlushVerdict(profile.series, on: disk)
    return profile
  }

  private init(startedAt: String, disk: ProbedDisk, options: FlushProfileOptions) {
    self.startedAt = startedAt
    self.disk = disk
    commitsPerWriter = options.commits
    secondsPerCell = options.secondsPerCell
    ending = .completed
    verdict = FlushVerdict([], on: disk)
    skipped = []
    series = []
  }

  private static func utcNow() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):"
      + "\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }
}
