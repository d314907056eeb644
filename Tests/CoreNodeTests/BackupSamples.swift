// States, backups and files of etcd's for the tests of both.

import CoordinationCore
import CoreNode
import Foundation

enum Sample {
  static let header = BackupHeader(
    clusterID: "209c97a4ec1a7319", incarnation: 3, revision: 9, compactedRevision: 0, index: 40, term: 5,
    clockMilliseconds: 123_456,
    members: [
      .init(
        id: "1", name: "a", peerURLs: ["http://127.0.0.1:2380"], clientURLs: ["http://127.0.0.1:2379"],
        isLearner: false)
    ], savedBy: "1", takenAtMilliseconds: 1_700_000_000_000, portcullis: "0.1.0")

  /// Keys with history, a lease, a grant and a node's key.
  static func state(keys: Int = 5, valueBytes: Int = 8) -> Coordination {
    var state = Coordination()
    var index: UInt64 = 0
    func apply(_ command: Command) {
      index += 1
      _ = state.apply(command, index: index, clockMilliseconds: 1000)
    }
    apply(.leaseGrant(7, ttlMilliseconds: 60_000))
    for step in 0..<(keys * 2) {
      var put = PutRequest(
        key: Key(Bytes("key \(step % keys)".utf8)), value: Bytes(repeating: UInt8(step % 251), count: valueBytes))
      put.lease = step % 2 == 0 ? 7 : 0
      apply(.put(put))
    }
    apply(
      .delete(DeleteRequest(range: KeyRange(start: Key(Bytes("key 0".utf8)), end: .single), wantsPrevious: false)))
    apply(
      .acquire(
        AcquireRequest(
          scope: Key(Bytes("orders".utf8)), holder: "anna", lease: 8, ttlMilliseconds: 30_000, waits: false)))
    apply(.registerNode(NodeRecord(node: 1, keyID: "kid", publicKey: [1, 2, 3], clientURL: "http://a:1", birth: 4)))
    return state
  }

  static func backup(of state: Coordination, pieceBytes: Int = 1 << 18) throws -> [UInt8] {
    var encoder = BackupEncoder(state, header, pieceBytes: pieceBytes)
    var bytes: [UInt8] = []
    while let piece = try encoder.next() { bytes += piece }
    return bytes
  }

  /// A file as etcd's Snapshot call gives it, but for the sum behind it.
  static func etcdFile(of state: Coordination) -> [UInt8] {
    var writer = BoltWriter(EtcdBackup.file(of: state, index: 40, term: 5))
    var bytes: [UInt8] = []
    while let pages = writer.next() { bytes += pages }
    return bytes
  }

  static func source(_ bytes: [UInt8]) -> ByteSource {
    { (offset: UInt64, count: Int) throws(BackupError) -> [UInt8] in
      guard offset < UInt64(bytes.count) else { return [] }
      return Array(bytes[Int(offset)..<min(bytes.count, Int(offset) + count)])
    }
  }

  /// A directory that goes away with the test.
  final class Directory {
    let path = NSTemporaryDirectory() + "/portcullis-backup-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func callAsFunction(_ name: String) -> String { path + "/" + name }

    func write(_ bytes: [UInt8], _ name: String) throws -> String {
      try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
      return self(name)
    }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path))?.sorted() ?? [] }
  }
}
