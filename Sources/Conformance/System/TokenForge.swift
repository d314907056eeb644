// Tokens that no core would make, signed with a core's own key: what a fence must refuse although the signature holds.

import Crypto
import Foundation

/// Signs changed copies of a token.
package struct TokenForge: Sendable {
  private let key: [UInt8]
  private let header: String
  private let payload: String

  /// - Parameters:
  ///   - keyFile: a node's private key, as it lies in its data directory.
  ///   - like: a token that this node signed.
  /// - Throws: when the key cannot be read, or the token cannot be taken apart.
  package init(keyFile: String, like token: String) throws {
    key = Array(try Data(contentsOf: URL(fileURLWithPath: keyFile)))
    let parts = token.split(separator: ".").map(String.init)
    guard parts.count == 3, let payload = Self.decode(parts[1]) else {
      throw ConformanceError("this is no token: \(token.prefix(40))")
    }
    header = parts[0]
    self.payload = payload
  }

  /// - Parameter claims: the JSON text of each claim that is to be another.
  package func token(_ claims: [String: String]) throws -> String {
    var text = payload
    for (name, value) in claims {
      guard let start = text.range(of: "\"\(name)\":")?.upperBound,
        let end = text[start...].firstIndex(where: { $0 == "," || $0 == "}" })
      else { throw ConformanceError("the token has no claim \(name)") }
      text.replaceSubrange(start..<end, with: value)
    }
    let signed = header + "." + Self.encode(Data(text.utf8))
    let signature = try Curve25519.Signing.PrivateKey(rawRepresentation: key).signature(for: Data(signed.utf8))
    return signed + "." + Self.encode(signature)
  }

  /// Base64url without padding (RFC 7515, appendix C).
  private static func encode(_ data: Data) -> String {
    data.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
      .replacingOccurrences(of: "=", with: "")
  }

  private static func decode(_ text: String) -> String? {
    let standard = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    let padding = String(repeating: "=", count: (4 - standard.count % 4) % 4)
    return Data(base64Encoded: standard + padding).map { String(decoding: $0, as: UTF8.self) }
  }
}
