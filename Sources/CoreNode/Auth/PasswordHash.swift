// What is kept of a password: scrypt (RFC 7914) over it with a salt of its own, in a text that says how it was made:
//
//   $scrypt$ln=15,r=8,p=1$SALT$HASH        ln is the binary logarithm of the rounds; SALT and HASH in base64url
//
// Must never: take parameters with which a check would take minutes or gigabytes, whoever made the text; compare hashes
// in a time that tells where they differ.

package import CoordinationCore
import Crypto
import CryptoExtras
import Foundation
import Tokens

package struct PasswordHash: Sendable, Equatable {
  private static let hashBytes = 32
  static let saltBytes = 16
  private static let blockSize = 8
  /// 256 MiB for as long as a check takes.
  private static let mostRoundsLog = 18

  private let roundsLog: Int
  private let blockSize: Int
  private let parallelism: Int
  private let salt: Bytes
  private let hash: Bytes

  /// bcrypt's cost doubles the work with each step, as scrypt's rounds do. Its default of 10 stands for 2^15 rounds, which
  /// take 32 MiB and about a tenth of a second; more than 13 would take more memory than a node should give for a login.
  static func roundsLog(ofCost cost: Int) -> Int { min(max(cost + 5, 10), mostRoundsLog) }

  /// Takes as long as it should, and must be on no event loop.
  package init(of password: Bytes, salt: Bytes, cost: Int) {
    self.init(roundsLog: Self.roundsLog(ofCost: cost), salt: salt, hash: [])
    self = Self(roundsLog: roundsLog, salt: salt, hash: derived(from: password))
  }

  private init(roundsLog: Int, salt: Bytes, hash: Bytes) {
    self.roundsLog = roundsLog
    blockSize = Self.blockSize
    parallelism = 1
    self.salt = salt
    self.hash = hash
  }

  /// One that no password fits and that takes as long to check as another.
  static func decoy(cost: Int) -> PasswordHash {
    PasswordHash(
      roundsLog: roundsLog(ofCost: cost), salt: Self.random(saltBytes), hash: Self.random(hashBytes))
  }

  static func random(_ count: Int) -> Bytes { (0..<count).map { _ in UInt8.random(in: .min ... .max) } }

  /// Nil for bytes that are no such text, or ask for more than a check may take.
  package init?(_ bytes: Bytes) {
    let parts = bytes.split(separator: UInt8(ascii: "$"), omittingEmptySubsequences: false)
    guard parts.count == 5, parts[0].isEmpty, parts[1].elementsEqual("scrypt".utf8) else { return nil }
    let numbers = parts[2].split(separator: UInt8(ascii: ",")).map { String(decoding: $0, as: UTF8.self) }
    guard numbers.count == 3, let rounds = Self.number("ln=", numbers[0]), let block = Self.number("r=", numbers[1]),
      let parallelism = Self.number("p=", numbers[2]), let salt = Base64URL.decode(parts[3]),
      let hash = Base64URL.decode(parts[4]), (10...Self.mostRoundsLog).contains(rounds), block == Self.blockSize,
      (1...4).contains(parallelism), (8...64).contains(salt.count), hash.count == Self.hashBytes
    else { return nil }
    (self.roundsLog, self.blockSize, self.parallelism, self.salt, self.hash) = (rounds, block, parallelism, salt, hash)
  }

  private static func number(_ name: String, _ text: String) -> Int? {
    guard text.hasPrefix(name), let number = Int(text.dropFirst(name.count)), "\(name)\(number)" == text else {
      return nil
    }
    return number
  }

  package var encoded: Bytes {
    Bytes(
      "$scrypt$ln=\(roundsLog),r=\(blockSize),p=\(parallelism)$\(Base64URL.encode(salt))$\(Base64URL.encode(hash))"
        .utf8)
  }

  /// Takes as long as the hash took to make, and must be on no event loop.
  package func fits(_ password: Bytes) -> Bool {
    let other = derived(from: password)
    guard other.count == hash.count else { return false }
    return zip(hash, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  /// Empty when there is not enough memory, which is a hash that nothing fits.
  private func derived(from password: Bytes) -> Bytes {
    let key = try? KDF.Scrypt.deriveKey(
      from: password, salt: salt, outputByteCount: Self.hashBytes, rounds: 1 << roundsLog, blockSize: blockSize,
      parallelism: parallelism)
    return key?.withUnsafeBytes { Bytes($0) } ?? []
  }
}
