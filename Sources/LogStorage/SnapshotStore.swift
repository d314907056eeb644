// Owns a node's snapshot files, in `snapshots` beside the log: which there are, which are whole, which may go.
//
// It must never: show a file that is not whole under a name that an opening believes; remove the last snapshot that
// the log needs. What is under a temporary name is nobody's after a crash.
//
// Invariant: the files are sorted by their points, and no two are at the same one.

import Glibc
package import RaftCore
import Synchronization

package final class SnapshotStore: Sendable {
  /// A snapshot that somebody has read of so lately is being handed to a follower, and stays.
  package static let readingNanoseconds: UInt64 = 60_000_000_000
  private static let temporarySuffix = ".tmp"
  private static let suffix = ".snapshot"

  private let path: String
  private let minimumFreeBytes: Int
  private let freeSpace: FreeSpace
  private let state: Mutex<State>
  let staging = Mutex<Staging?>(nil)

  private struct State {
    var files: [SnapshotFile]
    var temporaries: UInt64 = 0
  }

  /// A snapshot that comes in from elsewhere.
  struct Staging {
    var description: SnapshotDescription
    var writer: SnapshotWriter
  }

  /// Finds what there is. Removes what was never finished.
  init(directory: String, options: LogStorage.Options, freeSpace: FreeSpace) throws(StorageError) {
    path = directory + "/snapshots"
    minimumFreeBytes = options.minimumFreeBytes
    self.freeSpace = freeSpace
    var files: [SnapshotFile] = []
    for name in try Self.names(in: path) {
      let full = path + "/" + name
      if name.hasSuffix(Self.temporarySuffix) {
        unlink(full)
      } else if name.hasSuffix(Self.suffix) {
        do throws(StorageError) {
          files.append(try SnapshotFile(path: full))
        } catch {
          // One that does not check is no snapshot. It stays until a whole one is there, for who wants to look at it.
          guard case .corruptSnapshot = error else { throw error }
        }
      }
    }
    files.sort { $0.description.point.isBefore($1.description.point) }
    state = Mutex(State(files: files))
  }

  // MARK: Finding

  /// The newest one that is whole. The first call for a snapshot that this run did not write reads all of it.
  package func newest() -> SnapshotDescription? {
    newestFirst().first(where: isWhole)
  }

  /// All that look like snapshots.
  func newestFirst() -> [SnapshotDescription] {
    state.withLock { $0.files.reversed().map(\.description) }
  }

  func isWhole(_ description: SnapshotDescription) -> Bool {
    file(description)?.checkedWhole() ?? false
  }

  func holds(_ base: LogBase) -> Bool {
    state.withLock {
      $0.files.contains { $0.description.point.index == base.index && $0.description.point.term == base.term }
    }
  }

  private func file(_ description: SnapshotDescription) -> SnapshotFile? {
    state.withLock { $0.files.last { $0.description == description } }
  }

  // MARK: Reading

  /// A stretch of a snapshot's content; nil when that snapshot is not there.
  package func read(
    _ description: SnapshotDescription, offset: UInt64, maxBytes: Int
  ) throws(StorageError) -> SnapshotChunk? {
    guard let file = file(description), offset <= description.totalBytes else { return nil }
    return SnapshotChunk(
      description: description, offset: offset, bytes: try file.content(from: offset, maxBytes: maxBytes))
  }

  package func content(of description: SnapshotDescription) throws(StorageError) -> SnapshotContent {
    guard let file = file(description) else { throw .missingSnapshot(description.point.index) }
    return SnapshotContent(file)
  }

  // MARK: Writing

  /// Begins a snapshot of this node's own.
  package func begin(_ point: SnapshotPoint) throws(StorageError) -> SnapshotWriter {
    guard hasRoom() else { throw .diskFull(operation: "beginning a snapshot") }
    try makeDirectory()
    let number = state.withLock { state in
      state.temporaries += 1
      return state.temporaries
    }
    return try SnapshotWriter(point, in: self, path: "\(path)/\(number)\(Self.temporarySuffix)")
  }

  /// Whether the disk has more left than other files need.
  func hasRoom() -> Bool { freeSpace.bytes(path) >= minimumFreeBytes }

  /// Gives a durable file its own name.
  func adopt(_ temporary: String, as description: SnapshotDescription) throws(StorageError) {
    let name = path + "/" + SnapshotFormat.fileName(of: description.point)
    try state.withLock { state throws(StorageError) in
      guard rename(temporary, name) == 0 else { throw .fromSystem(errno, operation: "naming", path: temporary) }
      try LogDirectory.sync(path)
      let file = try SnapshotFile(path: name)
      file.use.withLock { $0.isWhole = true }
      state.files.removeAll { $0.path == name }
      state.files.append(file)
      state.files.sort { $0.description.point.isBefore($1.description.point) }
    }
  }

  private func makeDirectory() throws(StorageError) {
    if mkdir(path, 0o700) == 0 { return try LogDirectory.sync(path + "/..") }
    guard errno == EEXIST else { throw .fromSystem(errno, operation: "making", path: path) }
  }

  // MARK: Removing

  /// Keeps this one, the one before it, everything newer, and what is being read.
  package func prune(keeping description: SnapshotDescription) {
    prune(keeping: description, now: MonotonicClock.nanoseconds())
  }

  /// The same at an instant of `MonotonicClock`.
  package func prune(keeping description: SnapshotDescription, now: UInt64) {
    // The log's writer takes the lock too, so nothing that a disk takes long for happens inside.
    var removed = state.withLock { state -> [SnapshotFile] in
      guard let place = state.files.firstIndex(where: { $0.description == description }) else { return [] }
      let removed = state.files[..<place].dropLast().filter { !$0.isBeingRead(now: now) }
      state.files.removeAll { file in removed.contains { $0 === file } }
      return removed
    }
    for place in removed.indices {
      // Whoever still reads one reads it to its end.
      if isKnownUniquelyReferenced(&removed[place]) {
        GradualRemoval.remove(removed[place].path)
      } else {
        unlink(removed[place].path)
      }
    }
    removeUnlisted()
  }

  /// At the end of an opening, on what it has chosen: what is newer does not go with the log.
  func settle(on chosen: SnapshotDescription?) {
    state.withLock { state in
      let place = state.files.firstIndex { $0.description == chosen } ?? -1
      for file in state.files[(place + 1)...] { unlink(file.path) }
      state.files.removeSubrange((place + 1)...)
    }
  }

  /// Files that look like snapshots by their name alone. One that is adopted meanwhile is listed by then: the names are
  /// read first, inside the lock that adopting takes.
  private func removeUnlisted() {
    let unlisted = state.withLock { state -> [String] in
      let names = (try? Self.names(in: path)) ?? []
      let paths = names.filter { $0.hasSuffix(Self.suffix) }.map { path + "/" + $0 }
      return paths.filter { full in !state.files.contains { $0.path == full } }
    }
    for path in unlisted { GradualRemoval.remove(path) }
  }

  /// The names in a directory, none where there is no directory.
  static func names(in path: String) throws(StorageError) -> [String] {
    guard let directory = opendir(path) else {
      if errno == ENOENT { return [] }
      throw .fromSystem(errno, operation: "reading", path: path)
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.filter { $0 != "." && $0 != ".." }.sorted()
  }
}

// MARK: - Snapshots from elsewhere

extension SnapshotStore {
  /// Takes a stretch that came in. A stretch at 0 of another snapshot than the one that is coming in takes its place;
  /// any other that does not follow on what is here is left out.
  /// - Returns: up to where the snapshot is here.
  package func stage(_ chunk: SnapshotChunk) throws(StorageError) -> UInt64 {
    try staging.withLock { staging throws(StorageError) -> UInt64 in
      if chunk.offset == 0, staging?.description != chunk.description {
        staging?.writer.abandon()
        staging = nil
        staging = Staging(description: chunk.description, writer: try begin(chunk.description.point))
      }
      guard let current = staging, current.description == chunk.description else { return 0 }
      let here = current.writer.totalBytes
      guard chunk.offset == here, chunk.end <= chunk.description.totalBytes else { return here }
      do throws(StorageError) {
        try current.writer.append(chunk.bytes)
      } catch {
        current.writer.abandon()
        staging = nil
        throw error
      }
      return chunk.end
    }
  }

  /// Lets go of what has come in so far. It keeps the store alive otherwise.
  func abandonStaging() {
    staging.withLock { staging in
      staging?.writer.abandon()
      staging = nil
    }
  }

  /// Makes what was staged a snapshot of this store. False when its bytes are not those that its description tells; it
  /// is gone then, and so is one that is not all here.
  package func finishStaging(_ description: SnapshotDescription) throws(StorageError) -> Bool {
    try staging.withLock { staging throws(StorageError) -> Bool in
      guard let current = staging, current.description == description else { return isWhole(description) }
      staging = nil
      guard current.writer.totalBytes == description.totalBytes, current.writer.checksum == description.checksum else {
        current.writer.abandon()
        return false
      }
      return try current.writer.finish() == description
    }
  }
}

extension SnapshotPoint {
  fileprivate func isBefore(_ other: SnapshotPoint) -> Bool {
    (index, term) < (other.index, other.term)
  }
}

extension SnapshotFile {
  fileprivate func isBeingRead(now: UInt64) -> Bool {
    use.withLock { use in
      guard let last = use.lastReadNanoseconds else { return false }
      return last > now || now - last < SnapshotStore.readingNanoseconds
    }
  }
}
