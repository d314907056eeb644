// Owns a file on the disk from which a cluster may be restored, of ours or of etcd's: finding out which it is, checking all
// of it, and reading the state in it.
//
// Must never: hand out a state of a file that was not checked to its last byte.

package import CoordinationCore
import Crypto
import Foundation
import Glibc

/// A file that is open for reading at any place.
final class OpenFile {
  let path: String
  let length: UInt64
  private let descriptor: Int32

  init(_ path: String) throws(NodeError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .storage("\(path) cannot be opened: \(String(cString: strerror(errno)))") }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      Glibc.close(descriptor)
      throw .storage("\(path) is no file")
    }
    length = UInt64(status.st_size)
    posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
  }

  deinit { Glibc.close(descriptor) }

  /// Fewer than `count` bytes at the end of the file.
  func read(_ offset: UInt64, _ count: Int) throws(BackupError) -> [UInt8] {
    guard offset < length else { return [] }
    let wanted = Int(min(UInt64(count), length - offset))
    var code: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, filled in
      while filled < wanted {
        let got = pread(
          descriptor, buffer.baseAddress.map { $0 + filled }, wanted - filled, off_t(offset) + off_t(filled))
        if got < 0, errno == EINTR { continue }
        if got < 0 { code = errno }
        guard got > 0 else { return }
        filled += got
      }
    }
    guard code == 0 else { throw .damaged("reading it failed: \(String(cString: strerror(code)))") }
    return bytes
  }
}

/// A state, and what the file says of where it comes from.
package struct LoadedBackup: Sendable {
  package let state: Coordination
  /// Nil of a file of etcd's.
  package let header: BackupHeader?
  package let etcd: EtcdSnapshot.Figures?
  /// SHA-256; nil of a file of etcd's that has none.
  package let checksum: [UInt8]?
  /// Puts of etcd's that named a lease which is gone.
  package let leaselessPuts: Int
}

package enum BackupFile {
  package enum Kind: Sendable { case portcullis, etcd }

  private static let blockBytes = 1 << 20

  /// - Throws: `notABackup` where it is neither.
  static func kind(of file: OpenFile) throws(BackupError) -> Kind {
    let start = try file.read(0, 64)
    if BackupDecoder.recognizes(start) { return .portcullis }
    let mark = BackupFormat.littleEndian(BoltPage.magic)
    if start.count == 64, Array(start[16..<20]) == mark { return .etcd }
    // Of etcd's two first pages either may be damaged.
    if try file.read(4096, 64).dropFirst(16).starts(with: mark) { return .etcd }
    throw .notABackup
  }

  /// Reads all of a file and checks it.
  /// - Parameter skippingHash: takes a file of etcd's that has no sum behind it, such as a copy of `member/snap/db`.
  static func load(_ file: OpenFile, skippingHash: Bool) throws(BackupError) -> LoadedBackup {
    switch try kind(of: file) {
    case .portcullis: return try loadOwn(file)
    case .etcd:
      let (length, checksum) = try checkEtcd(file)
      guard checksum != nil || skippingHash else {
        throw .damaged(
          "it has no SHA-256 behind it. If it is a copy of etcd's member/snap/db, and not a snapshot that was cut short,"
            + " say so with --skip-hash-check")
      }
      var snapshot = try EtcdSnapshot(length: length, file.read)
      let (state, leaselessPuts) = try snapshot.state(clockMilliseconds: 0)
      return LoadedBackup(
        state: state, header: nil, etcd: snapshot.figures, checksum: checksum, leaselessPuts: leaselessPuts)
    }
  }

  private static func loadOwn(_ file: OpenFile) throws(BackupError) -> LoadedBackup {
    var decoder = BackupDecoder()
    var reader = StateReader()
    do {
      var offset: UInt64 = 0
      while offset < file.length {
        let block = try file.read(offset, blockBytes)
        guard !block.isEmpty else { break }
        offset += UInt64(block.count)
        for piece in try decoder.take(block) { try reader.read(piece) }
      }
      try decoder.finish()
      return LoadedBackup(
        state: try reader.finish(), header: decoder.header, etcd: nil, checksum: decoder.checksum, leaselessPuts: 0)
    } catch let error as BackupError {
      throw error
    } catch StateError.unknownVersion(let version) {
      throw .damaged("its state has format \(version), which this version does not read; use the newer one")
    } catch {
      throw .damaged("its sums check and its state cannot be read: \(error)")
    }
  }

  /// What a file of ours says of itself, if that much of it is whole.
  static func header(of file: OpenFile) -> BackupHeader? {
    var decoder = BackupDecoder()
    // What is behind the header may be damaged.
    let start = try? file.read(0, BackupFormat.headerBytes + BackupFormat.maximumDescriptionBytes)
    _ = try? decoder.take(start ?? [])
    return decoder.header
  }

  /// Checks the sum behind a file of etcd's.
  /// - Returns: the length of what is before it; and the sum, nil where there is none.
  static func checkEtcd(_ file: OpenFile) throws(BackupError) -> (length: UInt64, checksum: [UInt8]?) {
    let sumBytes = UInt64(BackupFormat.checksumBytes)
    // Pages are multiples of 512 bytes: by this etcd's own tools tell whether there is a sum.
    if file.length % 512 == 0 { return (file.length, nil) }
    guard file.length % 512 == sumBytes else { throw .cutShort(bytes: file.length) }
    let length = file.length - sumBytes
    var hash = SHA256()
    var offset: UInt64 = 0
    while offset < length {
      let block = try file.read(offset, Int(min(UInt64(blockBytes), length - offset)))
      guard !block.isEmpty else { throw .cutShort(bytes: offset) }
      hash.update(data: block)
      offset += UInt64(block.count)
    }
    let found = Array(hash.finalize())
    guard found == (try file.read(length, BackupFormat.checksumBytes)) else {
      throw .damaged("its SHA-256 is not that of its bytes")
    }
    return (length, found)
  }
}
