// Owns one snapshot file while it is written: under a temporary name, and under its own only when all of it is durable.
//
// It must never hold up the log's flushes for long: it has the system write a quarter of a megabyte at a time and waits
// for it, so that no flush ever finds more than that ahead of it. It must never take the disk's last bytes either.

import CLMDB
import Glibc
package import RaftCore
import Synchronization

/// One thread at a time writes; a lock makes it so.
package final class SnapshotWriter: Sendable {
  private static let writeOutBytes = 256 << 10

  let point: SnapshotPoint
  private let store: SnapshotStore
  private let path: String
  private let descriptor: Int32
  private let headerSum: UInt32
  private let state: Mutex<State>

  private struct State {
    /// A piece's header and what there is of its content.
    var piece: [UInt8]
    var pieces: UInt64 = 0
    var totalBytes: UInt64 = 0
    var checksum: UInt32 = 0
    var fileBytes = 0
    var writtenOutBytes = 0
    /// Finished, abandoned, or met by an error.
    var isOver = false
  }

  init(_ point: SnapshotPoint, in store: SnapshotStore, path: String) throws(StorageError) {
    self.point = point
    self.store = store
    self.path = path
    let header = SnapshotFormat.header(of: point)
    headerSum = header.withUnsafeBytes { $0.integer(at: 44) }
    descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "making", path: path) }
    var piece = [UInt8](repeating: 0, count: SnapshotFormat.pieceHeaderBytes)
    piece.reserveCapacity(SnapshotFormat.pieceHeaderBytes + SnapshotFormat.pieceBytes)
    state = Mutex(State(piece: piece))
    try state.withLock { state throws(StorageError) in try write(header, &state) }
  }

  deinit {
    abandon()
    Glibc.close(descriptor)
  }

  /// The next bytes of the content. After an error there is nothing to do but to abandon it; the log is not affected.
  package func append(_ bytes: [UInt8]) throws(StorageError) {
    try state.withLock { state throws(StorageError) in
      guard !state.isOver else { throw .closed }
      state.checksum = bytes.withUnsafeBytes { CRC32C.checksum($0, continuing: state.checksum) }
      state.totalBytes += UInt64(bytes.count)
      var rest = bytes[...]
      while !rest.isEmpty {
        let room = SnapshotFormat.pieceHeaderBytes + SnapshotFormat.pieceBytes - state.piece.count
        state.piece += rest.prefix(room)
        rest = rest.dropFirst(room)
        if room <= bytes.count, state.piece.count == SnapshotFormat.pieceHeaderBytes + SnapshotFormat.pieceBytes {
          try writePiece(&state)
        }
      }
    }
  }

  /// How much was appended.
  var totalBytes: UInt64 { state.withLock { $0.totalBytes } }
  var checksum: UInt32 { state.withLock { $0.checksum } }

  /// Returns when the snapshot is whole, durable, and the store's.
  package func finish() throws(StorageError) -> SnapshotDescription {
    let description = try state.withLock { state throws(StorageError) -> SnapshotDescription in
      guard !state.isOver else { throw .closed }
      if state.piece.count > SnapshotFormat.pieceHeaderBytes { try writePiece(&state) }
      let footer = SnapshotFormat.footer(
        totalBytes: state.totalBytes, checksum: state.checksum, headerSum: headerSum)
      try write(footer, &state)
      guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
      state.isOver = true
      return SnapshotDescription(point: point, totalBytes: state.totalBytes, checksum: state.checksum)
    }
    do throws(StorageError) {
      try store.adopt(path, as: description)
    } catch {
      unlink(path)
      throw error
    }
    return description
  }

  /// Removes what was written. After `finish` it does nothing.
  package func abandon() {
    state.withLock { state in
      guard !state.isOver else { return }
      state.isOver = true
      unlink(path)
    }
  }

  private func writePiece(_ state: inout State) throws(StorageError) {
    let number = state.pieces
    state.piece.withUnsafeMutableBytes { piece in
      let content = UnsafeRawBufferPointer(rebasing: piece[SnapshotFormat.pieceHeaderBytes...])
      piece.store(UInt32(content.count), at: 0)
      piece.store(SnapshotFormat.sum(ofPiece: number, content, headerSum: headerSum), at: 4)
    }
    try write(state.piece, &state)
    state.pieces += 1
    state.piece.removeSubrange(SnapshotFormat.pieceHeaderBytes...)
  }

  private func write(_ bytes: [UInt8], _ state: inout State) throws(StorageError) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { raw in
        pwrite(descriptor, raw.baseAddress.map { $0 + written }, raw.count - written, off_t(state.fileBytes))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw .fromSystem(errno, operation: "writing", path: path) }
      written += count
      state.fileBytes += count
    }
    let waiting = state.fileBytes - state.writtenOutBytes
    guard waiting >= Self.writeOutBytes else { return }
    guard store.hasRoom() else { throw .diskFull(operation: "writing of \(path)") }
    guard portcullis_write_out(descriptor, Int64(state.writtenOutBytes), Int64(waiting)) == 0 else {
      throw .fromSystem(errno, operation: "writing out", path: path)
    }
    state.writtenOutBytes = state.fileBytes
  }
}
