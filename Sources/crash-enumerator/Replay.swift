// Owns the check of a recording against the files, without which the enumeration would prove nothing, and the defects
// that are planted to prove that it can fail.

import CrashStates

enum Replay {
  /// A recording that missed a write would make crash states that cannot be, or miss some that can.
  static func check(_ calls: [Call], against real: DiskImage) throws(Failure) {
    var disk = Disk()
    do throws(RecordingError) {
      for call in calls { try disk.take(call) }
    } catch {
      throw Failure("\(error)")
    }
    let seen = disk.seen
    guard seen.directories == real.directories else {
      throw Failure("the recording made the directories \(seen.directories), and there are \(real.directories)")
    }
    for file in seen.files where real[file.name] != file.bytes {
      throw Failure("the recording does not give the bytes of \(file.name)")
    }
    // What was mapped is not in the replay: LMDB's table of readers and SQLite's index of its log. Both are made anew by
    // whoever opens first.
    let mapped = ["lock.mdb", "-shm"]
    for file in real.files where seen[file.name] == nil && !mapped.contains(where: file.name.hasSuffix) {
      throw Failure("the recording knows nothing of \(file.name)")
    }
  }
}

enum PlantedDefect: String {
  /// A disk that answers a flush and forgets.
  case ignoredFlushes = "ignored-flushes"
  /// LMDB as with MDB_NOSYNC: its file is never flushed.
  case noSync = "no-sync"
  /// LMDB as with MDB_NOMETASYNC: the page that makes a commit is not flushed with it.
  case noMetaSync = "no-meta-sync"
  /// A program that forgets to flush directories.
  case unflushedNames = "unflushed-names"

  /// From the first mark on: that a log can be made is not what these are to break.
  func plant(in calls: [Call]) -> [Call] {
    var names: [Int32: String] = [:]
    var directories: [Int32: Bool] = [:]
    var isMade = false
    return calls.compactMap { call in
      if case .mark = call { isMade = true }
      if case .open(let descriptor, let name, let flags) = call {
        names[descriptor] = name
        directories[descriptor] = flags.contains(.isDirectory)
        let isHit = self == .ignoredFlushes || (self != .unflushedNames && name.hasSuffix("data.mdb"))
        return isHit ? .open(descriptor: descriptor, name: name, flags.subtracting(.isSynchronous)) : call
      }
      guard isMade, case .flush(let descriptor) = call else { return call }
      switch self {
      case .ignoredFlushes: return nil
      case .noSync: return names[descriptor]?.hasSuffix("data.mdb") == true ? nil : call
      case .noMetaSync: return call
      case .unflushedNames: return directories[descriptor] == true ? nil : call
      }
    }
  }
}
