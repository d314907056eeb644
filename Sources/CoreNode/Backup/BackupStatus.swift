// What `portcullis snapshot status` tells of a file. The JSON form is for programs, so names stay what they are.

package import CoordinationCore
import Foundation

package struct BackupStatus: Codable, Sendable {
  package var file: String
  /// "portcullis" or "etcd"; nil of what is neither.
  package var kind: String?
  package var bytes: UInt64
  /// Every sum was checked and the state was read.
  package var isIntact: Bool
  package var problem: String?
  /// The file's own, in hexadecimal.
  package var sha256: String?
  package var header: BackupHeader?
  package var counts: Counts?
  package var etcd: Etcd?
  /// To compare with `HashKV` of a running member that has compacted at the same revision.
  package var hash: UInt32?
  package var hashRevision: Revision?

  package struct Counts: Codable, Sendable {
    package var keys: Int
    package var versions: Int
    package var leases: Int
    package var scopes: Int
    package var grants: Int
    package var waiting: Int
    package var clients: Int
    package var publicKeys: Int
    package var alarms: Int
    package var storeBytes: Int

    enum CodingKeys: String, CodingKey {
      case keys, versions, leases, scopes, grants, waiting, clients, alarms
      case publicKeys = "public_keys"
      case storeBytes = "store_bytes"
    }
  }

  /// What only a file of etcd's tells.
  package struct Etcd: Codable, Sendable {
    package var revision: Revision
    package var compactedRevision: Revision
    /// As etcd's own tool counts keys.
    package var totalKeys: Int
    package var index: UInt64
    package var term: UInt64
    package var users: Int
    package var roles: Int
    package var isAuthEnabled: Bool
    package var hasChecksum: Bool

    enum CodingKeys: String, CodingKey {
      case revision, index, term, users, roles
      case compactedRevision = "compacted_revision"
      case totalKeys = "total_keys"
      case isAuthEnabled = "auth_enabled"
      case hasChecksum = "has_checksum"
    }
  }

  enum CodingKeys: String, CodingKey {
    case file, kind, bytes, problem, sha256, header, counts, etcd, hash
    case isIntact = "intact"
    case hashRevision = "hash_revision"
  }
}

extension BackupStatus {
  /// Reads all of a file. Takes as long, and as much memory, as a node takes to start from it.
  /// - Throws: only where the file cannot be opened; all that is wrong with its bytes is in the status.
  package init(of path: String) throws(NodeError) {
    let opened = try OpenFile(path)
    self.init(file: path, bytes: opened.length, isIntact: false)
    do throws(BackupError) {
      let kind = try BackupFile.kind(of: opened)
      self.kind = kind == .etcd ? "etcd" : "portcullis"
      if kind == .portcullis { header = BackupFile.header(of: opened) }
      try take(try BackupFile.load(opened, skippingHash: true))
    } catch {
      problem = error.description
    }
  }

  private init(file: String, bytes: UInt64, isIntact: Bool) {
    (self.file, self.bytes, self.isIntact) = (file, bytes, isIntact)
  }

  private mutating func take(_ loaded: LoadedBackup) throws(BackupError) {
    let figures = loaded.state.figures
    sha256 = loaded.checksum.map { $0.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
    counts = Counts(
      keys: figures.keys, versions: figures.versions, leases: figures.leases, scopes: figures.scopes,
      grants: figures.grants, waiting: figures.waiting, clients: figures.clients, publicKeys: figures.publicKeys,
      alarms: figures.alarms, storeBytes: figures.storeBytes)
    if let etcd = loaded.etcd {
      self.etcd = Etcd(
        revision: etcd.revision, compactedRevision: etcd.compactedRevision, totalKeys: etcd.items,
        index: etcd.index, term: etcd.term, users: etcd.users, roles: etcd.roles, isAuthEnabled: etcd.isAuthEnabled,
        hasChecksum: loaded.checksum != nil)
      counts?.alarms = etcd.alarms
    } else {
      hash = (try? loaded.state.store.digest(through: 0)).map(MaintenanceService.folded)
      hashRevision = loaded.state.revision
    }
    isIntact = true
  }
}
