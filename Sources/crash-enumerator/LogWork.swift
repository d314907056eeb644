// Owns the program that is recorded: it carries out a plan against a real log, and says before each change that it was
// handed over and afterwards that it was acknowledged.
//
//   o      the log was opened for the first time
//   b<n>   the first n changes were handed over
//   d<n>   the first n changes were acknowledged

import LogStorage
import RaftCore

struct LogWork {
  private let plan: LogPlan
  private let directory: String
  private let marks: Marks
  private var storage: LogStorage
  private var writer: LogWriter?

  init(_ plan: LogPlan, directory: String, marks: Marks) throws {
    self.plan = plan
    self.directory = directory
    self.marks = marks
    storage = try LogStorage.open(directory: directory, identity: LogPlan.identity, options: plan.options).storage
    marks.set("o")
    if plan.hasWriter { writer = Self.makeWriter(storage, marks) }
  }

  mutating func run() throws {
    for step in plan.steps {
      marks.set("b\(step.changes)")
      try carryOut(step)
      if writer == nil { marks.set("d\(step.changes)") }
    }
    writer?.stop()
    storage.close()
  }

  private mutating func carryOut(_ step: LogPlan.Step) throws {
    switch step.action {
    case .append(let batch):
      guard let writer else { return _ = try storage.append(batch) }
      for persist in batch { writer.submit(persist) }
    case .settle: if writer == nil { try storage.settle() }
    case .reopen: try reopen()
    case .compact(let index): try storage.compact(before: index)
    case .removeGarbage: _ = try storage.removeGarbage()
    case .prune: storage.snapshots.newest().map { storage.snapshots.prune(keeping: $0, now: .max / 2) }
    case .snapshot(let point, let bytes):
      let writer = try storage.snapshots.begin(point)
      for start in stride(from: 0, to: bytes.count, by: 1500) {
        try writer.append(Array(bytes[start..<min(start + 1500, bytes.count)]))
      }
      _ = try writer.finish()
    case .install(let point, let bytes, let persist): try install(point, bytes, persist, changes: step.changes)
    }
  }

  private func install(_ point: SnapshotPoint, _ bytes: [UInt8], _ persist: Persist, changes: Int) throws {
    let description = SnapshotDescription(
      point: point, totalBytes: UInt64(bytes.count), checksum: bytes.withUnsafeBytes { CRC32C.checksum($0) })
    var offset = 0
    repeat {
      let end = min(offset + 2000, bytes.count)
      let chunk = SnapshotChunk(description: description, offset: UInt64(offset), bytes: Array(bytes[offset..<end]))
      guard try storage.snapshots.stage(chunk) == UInt64(end) else { throw Failure("a chunk was not staged") }
      offset = end
    } while offset < bytes.count
    guard try storage.snapshots.finishStaging(description) else { throw Failure("a staged snapshot does not check") }
    marks.set("d\(changes - 1)")
    try storage.append([persist])
  }

  private mutating func reopen() throws {
    writer?.stop()
    storage.close()
    storage = try LogStorage.open(directory: directory, identity: LogPlan.identity, options: plan.options).storage
    if plan.hasWriter { writer = Self.makeWriter(storage, marks) }
  }

  /// Sequences are the numbers of changes.
  private static func makeWriter(_ storage: LogStorage, _ marks: Marks) -> LogWriter {
    LogWriter(
      storage: storage, onPersisted: { sequence, _ in marks.set("d\(sequence)") },
      onFailure: { preconditionFailure("the log could not be written: \($0)") })
  }
}
