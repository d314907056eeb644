// Signs tokens with this node's own key. The private half stays in a file of mode 0600 in the data directory; the
// public half goes into the replicated state, so that any node can serve the keys of all.

import CoordinationCore
import FencingCore
import Foundation
import Tokens

struct TokenIssuer: Sendable {
  /// How long a token can be presented. It limits what a leaked token is good for and is never what keeps a stale
  /// writer out: that is the number. A holder that holds for longer asks again and gets a new token of the same number.
  static let lifetimeSeconds: Int64 = 24 * 3600

  private let key: SigningKey
  private let clusterID: UInt64
  private let incarnation: Incarnation

  /// Takes the key from `directory`, making one when there is none.
  init(directory: String, clusterID: UInt64, incarnation: UInt64) throws(NodeError) {
    guard let incarnation = Incarnation(incarnation) else {
      throw .configuration("incarnation \(incarnation) does not fit into 63 bits")
    }
    self.clusterID = clusterID
    self.incarnation = incarnation
    let path = directory + "/node.key"
    do {
      if FileManager.default.fileExists(atPath: path) {
        key = try SigningKey(rawRepresentation: Array(try Data(contentsOf: URL(fileURLWithPath: path))))
      } else {
        key = SigningKey()
        try Self.store(key, at: path)
      }
    } catch {
      throw .keyFile(
        "the node's signing key \(path) cannot be used: \(error). Move the file away to have a new key made; tokens"
          + " signed with the old one stay valid.")
    }
  }

  /// What a node that signs with this key says of itself.
  func record(of node: UInt64, clientURL: String, birth: UInt64) -> NodeRecord {
    NodeRecord(
      node: node, keyID: key.publicKey.kid, publicKey: key.publicKey.rawRepresentation, clientURL: clientURL,
      birth: birth)
  }

  /// - Throws: `TokenError` when the grant cannot be put into a token, such as a scope of several kilobytes.
  func token(scope: String, number: Revision, holder: String, isShared: Bool = false) throws -> String {
    guard let number = GrantNumber(number) else { preconditionFailure("a grant's number is a revision above 0") }
    let claims = FenceClaims(
      cluster: clusterID, incarnation: incarnation, scope: scope, number: number, holder: holder, isShared: isShared)
    let now = MachineClock.wallSeconds
    return try key.sign(claims, issuedAtSeconds: now, expiresAtSeconds: now + Self.lifetimeSeconds)
  }

  /// Writes the key under another name first, so that a crash cannot leave half a key under the real one.
  private static func store(_ key: SigningKey, at path: String) throws {
    let temporary = path + ".new"
    try? FileManager.default.removeItem(atPath: temporary)
    guard
      FileManager.default.createFile(
        atPath: temporary, contents: Data(key.rawRepresentation), attributes: [.posixPermissions: 0o600])
    else { throw CocoaError(.fileWriteNoPermission) }
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: temporary))
    try handle.synchronize()
    try handle.close()
    guard rename(temporary, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
  }
}
