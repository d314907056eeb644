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
    var opened: [Int32: (name: String, flags: OpenFlags)] = [:]
    var isMade = false
    var planted: [Call] = []
    for call in calls {
      switch call {
      case .mark:
        if !isMade {
          planted += opened.sorted { $0.key < $1.key }.map { reopened($0.key, $0.value.name, $0.value.flags) }
        }
        isMade = true
        planted.append(call)
      case .open(let descriptor, let name, let flags):
        opened[descriptor] = (name, flags)
        planted.append(isMade ? .open(descriptor: descriptor, name: name, kept(flags, name)) : call)
      case .close(let descriptor):
        opened[descriptor] = nil
        planted.append(call)
      case .flush(let descriptor) where isMade:
        if isFlushed(opened[descriptor]?.name ?? "", opened[descriptor]?.flags ?? []) { planted.append(call) }
      default: planted.append(call)
      }
    }
    return planted
  }

  private func reopened(_ descriptor: Int32, _ name: String, _ flags: OpenFlags) -> Call {
    .open(descriptor: descriptor, name: name, kept(flags.subtracting([.creates, .truncates]), name))
  }

  private func kept(_ flags: OpenFlags, _ name: String) -> OpenFlags {
    let isHit = self == .ignoredFlushes || (self != .unflushedNames && name.hasSuffix("data.mdb"))
    return isHit ? flags.subtracting(.isSynchronous) : flags
  }

  private func isFlushed(_ name: String, _ flags: OpenFlags) -> Bool {
    switch self {
    case .ignoredFlushes: false
    case .noSync: !name.hasSuffix("data.mdb")
    case .noMetaSync: true
    case .unflushedNames: !flags.contains(.isDirectory)
    }
  }
}
