// Owns one whole snapshot file that is open for reading.
//
// It must never hand out a byte whose piece's sum does not check. Any thread reads; a file that was removed meanwhile
// stays readable until its last reader is done.

import Glibc
import RaftCore
import Synchronization

final class SnapshotFile: Sendable {
  let description: SnapshotDescription
  let path: String
  private let descriptor: Int32
  private let headerBytes: Int
  private let headerSum: UInt32
  /// When somebody last read of it, and whether all of it was found whole. Before it was read it is not known.
  let use = Mutex<Use>(Use())

  struct Use {
    var lastReadNanoseconds: UInt64?
    var isWhole: Bool?
  }

  /// Opens a file and reads what stands before and behind its content. Throws when that is not a snapshot's.
  init(path: String) throws(StorageError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    do throws(StorageError) {
      let (point, bytes) = try Self.readHeader(descriptor, path)
      let sum = bytes.withUnsafeBytes { $0.integer(at: 44) as UInt32 }
      description = try Self.readFooter(descriptor, path, point, headerBytes: bytes.count, headerSum: sum)
      headerBytes = bytes.count
      headerSum = sum
    } catch {
      Glibc.close(descriptor)
      throw error
    }
  }

  deinit {
    Glibc.close(descriptor)
  }

  private static func readHeader(
    _ descriptor: Int32, _ path: String
  ) throws(StorageError) -> (point: SnapshotPoint, bytes: [UInt8]) {
    func corrupt(_ reason: String) -> StorageError { .corruptSnapshot(path: path, reason: reason) }
    var bytes = try read(descriptor, path, offset: 0, count: SnapshotFormat.headerBytes)
    let (magic, version, pieceBytes, length) = bytes.withUnsafeBytes {
      (
        $0.integer(at: 0) as UInt64, $0.integer(at: 8) as UInt32, $0.integer(at: 12) as UInt32,
        Int($0.integer(at: 40) as UInt32)
      )
    }
    guard magic == SnapshotFormat.magic else { throw corrupt("it does not begin like a snapshot") }
    guard length <= SnapshotFormat.maximumMembershipBytes else { throw corrupt("its header is no snapshot's") }
    bytes += try read(descriptor, path, offset: SnapshotFormat.headerBytes, count: length)
    let isSummed = bytes.withUnsafeBytes { $0.integer(at: 44) == SnapshotFormat.sum(ofHeader: $0) }
    guard isSummed else { throw corrupt("its header does not check") }
    guard version == SnapshotFormat.version, pieceBytes == SnapshotFormat.pieceBytes else {
      throw corrupt("it has version \(version), and this program reads \(SnapshotFormat.version)")
    }
    guard let membership = Membership.decode(Array(bytes[SnapshotFormat.headerBytes...])) else {
      throw corrupt("its membership cannot be read")
    }
    let point = bytes.withUnsafeBytes {
      SnapshotPoint(
        index: Index($0.integer(at: 16)), term: Term($0.integer(at: 24)), clockMilliseconds: $0.integer(at: 32),
        membership: membership)
    }
    return (point, bytes)
  }

  private static func readFooter(
    _ descriptor: Int32, _ path: String, _ point: SnapshotPoint, headerBytes: Int, headerSum: UInt32
  ) throws(StorageError) -> SnapshotDescription {
    let end = Int(lseek(descriptor, 0, SEEK_END))
    let start = end - SnapshotFormat.footerBytes
    guard start >= headerBytes else { throw .corruptSnapshot(path: path, reason: "it has no end") }
    let footer = try read(descriptor, path, offset: start, count: SnapshotFormat.footerBytes)
    let description = footer.withUnsafeBytes { footer -> SnapshotDescription? in
      guard footer.integer(at: 0) == SnapshotFormat.footerMark,
        footer.integer(at: 4) == SnapshotFormat.sum(ofFooter: footer, headerSum: headerSum)
      else { return nil }
      return SnapshotDescription(point: point, totalBytes: footer.integer(at: 8), checksum: footer.integer(at: 16))
    }
    guard let description,
      SnapshotFormat.fileBytes(headerBytes: headerBytes, totalBytes: description.totalBytes) == UInt64(end)
    else { throw .corruptSnapshot(path: path, reason: "its end does not check") }
    return description
  }

  private static func read(
    _ descriptor: Int32, _ path: String, offset: Int, count: Int
  ) throws(StorageError) -> [UInt8] {
    var code: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let got = pread(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset + filled))
        if got < 0, errno == EINTR { continue }
        if got < 0 { code = errno }
        guard got > 0 else { return }
        filled += got
      }
    }
    guard code == 0 else { throw .fromSystem(code, operation: "reading", path: path) }
    guard bytes.count == count else { throw .corruptSnapshot(path: path, reason: "it ends too early") }
    return bytes
  }
}

// MARK: - Pieces

extension SnapshotFile {
  var pieces: UInt64 {
    (description.totalBytes + UInt64(SnapshotFormat.pieceBytes) - 1) / UInt64(SnapshotFormat.pieceBytes)
  }

  /// The content of one piece, with what stands before it. Only of the pieces that there are.
  private func rawPiece(_ number: UInt64) throws(StorageError) -> [UInt8] {
    let start = number * UInt64(SnapshotFormat.pieceBytes)
    let content = Int(min(UInt64(SnapshotFormat.pieceBytes), description.totalBytes - start))
    let place = UInt64(headerBytes) + start + number * UInt64(SnapshotFormat.pieceHeaderBytes)
    let bytes = try Self.read(
      descriptor, path, offset: Int(place), count: content + SnapshotFormat.pieceHeaderBytes)
    let checks = bytes.withUnsafeBytes { piece in
      let body = UnsafeRawBufferPointer(rebasing: piece[SnapshotFormat.pieceHeaderBytes...])
      return piece.integer(at: 0) == UInt32(content)
        && piece.integer(at: 4) == SnapshotFormat.sum(ofPiece: number, body, headerSum: headerSum)
    }
    guard checks else {
      use.withLock { $0.isWhole = false }
      throw .corruptSnapshot(path: path, reason: "piece \(number) does not check")
    }
    return bytes
  }

  func piece(_ number: UInt64) throws(StorageError) -> ArraySlice<UInt8> {
    try rawPiece(number)[SnapshotFormat.pieceHeaderBytes...]
  }

  /// Up to `maxBytes` of the content from `offset` on, and at least one where there is one.
  func content(from offset: UInt64, maxBytes: Int) throws(StorageError) -> [UInt8] {
    use.withLock { $0.lastReadNanoseconds = MonotonicClock.nanoseconds() }
    guard offset < description.totalBytes else { return [] }
    let end = min(description.totalBytes, offset + UInt64(max(1, maxBytes)))
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(end - offset))
    var position = offset
    while position < end {
      let number = position / UInt64(SnapshotFormat.pieceBytes)
      let start = number * UInt64(SnapshotFormat.pieceBytes)
      let piece = try piece(number)
      let upper = min(piece.count, Int(end - start))
      bytes += piece[(piece.startIndex + Int(position - start))..<(piece.startIndex + upper)]
      position = start + UInt64(upper)
    }
    return bytes
  }

  /// Whether every byte is what was written. Reads all of it the first time.
  func checkedWhole() -> Bool {
    if let known = use.withLock({ $0.isWhole }) { return known }
    posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
    var checksum: UInt32 = 0
    do throws(StorageError) {
      for number in 0..<pieces {
        checksum = try piece(number).withUnsafeBytes { CRC32C.checksum($0, continuing: checksum) }
      }
    } catch {
      return false
    }
    let isWhole = checksum == description.checksum
    use.withLock { $0.isWhole = isWhole }
    return isWhole
  }
}

/// The bytes of a snapshot from the first to the last, each checked before it is handed out. Removing the snapshot does
/// not disturb it.
package final class SnapshotContent: Sendable {
  private let file: SnapshotFile
  private let progress = Mutex<(next: UInt64, checksum: UInt32)>((0, 0))

  init(_ file: SnapshotFile) {
    self.file = file
  }

  /// The next stretch; nil behind the last one. The stretch after which the whole does not check is an error.
  package func next() throws(StorageError) -> [UInt8]? {
    try progress.withLock { progress throws(StorageError) -> [UInt8]? in
      guard progress.next < file.pieces else { return nil }
      file.use.withLock { $0.lastReadNanoseconds = MonotonicClock.nanoseconds() }
      let piece = try file.piece(progress.next)
      progress.checksum = piece.withUnsafeBytes { CRC32C.checksum($0, continuing: progress.checksum) }
      progress.next += 1
      guard progress.next < file.pieces || progress.checksum == file.description.checksum else {
        file.use.withLock { $0.isWhole = false }
        throw .corruptSnapshot(path: file.path, reason: "its pieces check and the whole does not")
      }
      return Array(piece)
    }
  }
}
