// Base64url without padding (RFC 4648 section 5, as RFC 7515 section 2 wants it).
//
// Must never take two spellings of the same bytes: a token has exactly one text, so that nothing that compares or
// caches tokens by their text can be led around.

package enum Base64URL {
  package static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    var pending: UInt32 = 0
    var pendingBits = 0
    for byte in bytes {
      pending = pending << 8 | UInt32(byte)
      pendingBits += 8
      while pendingBits >= 6 {
        pendingBits -= 6
        text.append(alphabet[Int(pending >> UInt32(pendingBits) & 63)])
      }
    }
    if pendingBits > 0 { text.append(alphabet[Int(pending << UInt32(6 - pendingBits) & 63)]) }
    return String(decoding: text, as: UTF8.self)
  }

  /// Answers `nil` for a character outside the alphabet, for padding, for an impossible length, and where the
  /// bits that are left over are not zero.
  package static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    var pending: UInt32 = 0
    var pendingBits = 0
    var count = 0
    for character in text {
      guard let value = value(of: character) else { return nil }
      count += 1
      pending = (pending << 6 | value) & 0xFFFF
      pendingBits += 6
      if pendingBits >= 8 {
        pendingBits -= 8
        bytes.append(UInt8(truncatingIfNeeded: pending >> UInt32(pendingBits)))
      }
    }
    guard count % 4 != 1, pending & ((1 << UInt32(pendingBits)) - 1) == 0 else { return nil }
    return bytes
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  private static func value(of character: UInt8) -> UInt32? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): return UInt32(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): return UInt32(character - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return UInt32(character - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "-"): return 62
    case UInt8(ascii: "_"): return 63
    default: return nil
    }
  }
}
