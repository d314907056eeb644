// The text of a simple token: sixteen letters, a point, and the index of the entry that made it, as etcd's have it. The
// letters are the secret. The index tells a node that lags how far it must have come to know the token.

import CoordinationCore
import Crypto

package struct SimpleToken: Sendable, Equatable {
  private static let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
  private static let secretLetters = 16

  package let secret: String
  package let index: UInt64

  package init(secret: String, index: UInt64) {
    self.secret = secret
    self.index = index
  }

  /// Nil for a text that is no such token.
  package init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0].count == Self.secretLetters, parts[1].allSatisfy(Self.isDigit),
      let index = UInt64(String(decoding: parts[1], as: UTF8.self))
    else { return nil }
    self.init(secret: String(decoding: parts[0], as: UTF8.self), index: index)
  }

  package var text: String { "\(secret).\(index)" }

  /// Drawn from the system's secure generator.
  static func newSecret() -> String {
    let drawn = (0..<secretLetters).map { _ in letters[Int.random(in: letters.indices)] }
    return String(decoding: drawn, as: UTF8.self)
  }

  /// By which the state knows the token. The secret has 91 bits, so that no salt is needed.
  static func hash(ofSecret secret: String) -> Key { Key(Bytes(SHA256.hash(data: Array(secret.utf8)))) }

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}
