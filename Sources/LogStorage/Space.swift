// Owns how the log notices that a disk fills, before a write fails for it, and that it has room again.
//
// It must never let an entry take the last of the reserve: a vote, a cut or a removal must always find room. It is the
// writer's thread that looks, with no write transaction open.
//
// Two things make the disk count as full: less than `Options.minimumFreeBytes` is left on it, for other files on it
// need room too; or the data file's reserve can no longer be kept up, neither with new blocks nor with pages that LMDB
// has free.

import Glibc

/// How much room a disk has. Tests put another one in the place of the file system's own.
package struct FreeSpace: Sendable {
  package var bytes: @Sendable (_ path: String) -> Int
  /// It is not asked more often than this, unless more room is needed at once.
  package var lookEveryNanoseconds: UInt64

  package init(
    lookEveryNanoseconds: UInt64 = 1_000_000_000, bytes: @escaping @Sendable (_ path: String) -> Int
  ) {
    self.lookEveryNanoseconds = lookEveryNanoseconds
    self.bytes = bytes
  }

  package static let ofFileSystem = FreeSpace { LogDirectory.freeBytes(in: $0) }
}

/// What is written decides what it may use.
enum RoomUse {
  /// Not the reserve's last part.
  case entries
  /// Everything that is there: terms and votes, cuts, removals, and what an opening must do.
  case recovering
}

struct SpaceState {
  var isWritable = true
  var isLow = false
  var lastLookNanoseconds: UInt64 = 0
}

extension Environment {
  /// Whether there is room for more than the reserve.
  var isWritable: Bool { space.withLock { $0.isWritable } }

  /// Whether the last look is long enough ago for another one.
  func isDueForLook(now: UInt64) -> Bool {
    space.withLock { now &- $0.lastLookNanoseconds >= freeSpace.lookEveryNanoseconds }
  }

  /// Looks at what the disk has left.
  func look(now: UInt64) {
    space.withLock { space in
      space.lastLookNanoseconds = now
      // Not at the same line up as down, so that the state does not flap.
      let line = space.isLow ? minimumFreeBytes + minimumFreeBytes / 2 : minimumFreeBytes
      space.isLow = freeSpace.bytes(path) < line
    }
  }

  /// Has `bytes` ready in the file. Throws where not even the reserve holds them.
  func prepareFile(_ information: Information, forBytes bytes: Int, use: RoomUse) throws(StorageError) {
    let now = MonotonicClock.nanoseconds()
    if isDueForLook(now: now) { look(now: now) }
    guard let file else { return }
    let usedBytes = information.usedBytes
    let prepared = try file.prepare(usedBytes: usedBytes, forBytes: bytes) { freeSpace.bytes(path) }
    var isFull = false
    if prepared.isShort {
      let room = max(0, prepared.endBytes - usedBytes) + (try freePages()) * information.pageBytes
      isFull = room < bytes + diskReserveBytes
      guard use == .recovering || room >= bytes + diskReserveBytes / 4 else {
        throw .diskFull(operation: "preparing room for \(bytes) bytes")
      }
    }
    space.withLock { $0.isWritable = !isFull && !$0.isLow }
  }
}

extension LogStorage {
  /// Whether the disk has room for more than the reserve. Entries that are written while it has not go into the
  /// reserve, as far as its first part reaches.
  package var isWritable: Bool { environment.isWritable }

  /// Looks again, unless it was looked a moment ago. On the writing thread.
  package func lookAtSpace() throws(StorageError) {
    guard environment.isDueForLook(now: MonotonicClock.nanoseconds()) else { return }
    try environment.makeRoom(forBytes: LogState.pageBytesNeeded(for: []), use: .recovering)
  }
}
