// Owns the one word by which two results are known to be of one load.

import Foundation
package import Measurement

extension LoadConfiguration {
  /// FNV-1a (64 bits) over the JSON of all its fields, names in order, in hexadecimal. It tells loads apart, and is no defence
  /// against somebody who wants two to look alike.
  package var digest: String? {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { return nil }
    let hash = data.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
