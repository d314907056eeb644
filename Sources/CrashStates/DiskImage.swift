// Owns what a disk holds at one moment: directories and files by name, below one directory.

package struct DiskImage: Sendable, Equatable {
  /// In the order of their names, so that a directory comes before what is in it.
  package var directories: [String]
  package var files: [File]

  package struct File: Sendable, Equatable {
    package var name: String
    package var bytes: [UInt8]

    package init(name: String, bytes: [UInt8]) {
      self.name = name
      self.bytes = bytes
    }
  }

  package init(directories: [String] = [], files: [File] = []) {
    self.directories = directories.sorted()
    self.files = files.sorted { $0.name < $1.name }
  }

  package subscript(name: String) -> [UInt8]? { files.first { $0.name == name }?.bytes }

  /// Tells images apart. Sixty-four bits: two of a hundred thousand images are taken for one with a chance of one in
  /// three thousand million.
  package var digest: UInt64 {
    var digest = Digest()
    for name in directories { digest.add(Array(name.utf8)) }
    digest.add([0])
    for file in files {
      digest.add(Array(file.name.utf8))
      digest.add(file.bytes)
    }
    return digest.value
  }
}

/// A running hash of byte strings, each together with its length.
package struct Digest: Sendable {
  package private(set) var value: UInt64 = 0x9E37_79B9_7F4A_7C15

  package init() {}

  package mutating func add(_ bytes: [UInt8]) {
    mix(UInt64(bytes.count))
    bytes.withUnsafeBytes { raw in
      var offset = 0
      while offset + 8 <= raw.count {
        mix(raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        offset += 8
      }
      var rest: UInt64 = 0
      while offset < raw.count {
        rest = rest << 8 | UInt64(raw[offset])
        offset += 1
      }
      mix(rest)
    }
  }

  package mutating func add(_ number: UInt64) { mix(number) }

  private mutating func mix(_ word: UInt64) {
    let (high, low) = (value ^ word).multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
    value = high ^ low &+ 0xE703_7ED1_A0B4_28DB
  }
}

/// SplitMix64, so that a seed gives the same choices on every machine.
package struct Choosing: Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }

  /// Below `bound`, which is above 0.
  package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
