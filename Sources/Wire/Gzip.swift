// gzip (RFC 1952) around deflate (RFC 1951), one way: for the messages of clients that send them compressed. Nothing is
// sent compressed.
//
// The bytes are anybody's. Reading is total: they give a message within the limit or an error, after work that their number
// and the limit bound. Codes are read a bit at a time, since a table for each block would be work that a few bytes cause.

enum Gzip {
  enum Failure: Error, Equatable {
    case malformed(String)
    /// There is more than the limit, and what is more was not made.
    case tooLarge
  }

  /// - Parameter limitBytes: the most that may come out.
  static func decompress(_ bytes: UnsafeRawBufferPointer, limitBytes: Int) throws(Failure) -> [UInt8] {
    var inflating = Inflating(BitReader(bytes), limitBytes: limitBytes)
    try skipHeader(&inflating.input)
    try inflating.run()
    let sum = try inflating.input.number(bytes: 4)
    let size = try inflating.input.number(bytes: 4)
    guard inflating.input.isAtEnd else { throw .malformed("there is something behind the message") }
    guard size == UInt32(truncatingIfNeeded: inflating.output.count), sum == checksum(inflating.output) else {
      throw .malformed("the checksum does not fit")
    }
    return inflating.output
  }

  private static func skipHeader(_ input: inout BitReader) throws(Failure) {
    guard try input.number(bytes: 2) == 0x8B1F, try input.byte() == 8 else { throw .malformed("it is not gzip") }
    let flags = try input.byte()
    // When it was made, how, and by which system.
    _ = try input.take(6)
    if flags & 0x04 != 0 { _ = try input.take(Int(try input.number(bytes: 2))) }
    // A name and a comment, each up to a zero.
    for flag in [0x08, 0x10] as [UInt8] where flags & flag != 0 { while try input.byte() != 0 {} }
    if flags & 0x02 != 0 { _ = try input.take(2) }
  }

  private static let table: [UInt32] = (0..<256).map { start in
    (0..<8).reduce(UInt32(start)) { value, _ in value & 1 == 0 ? value >> 1 : 0xEDB8_8320 ^ (value >> 1) }
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { sum, byte in table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
  }
}

/// The compressed bytes, from which bits come lowest first.
private struct BitReader {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private var waiting: UInt32 = 0
  private var waitingBits = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { self.position == self.bytes.count }

  mutating func bits(_ count: Int) throws(Gzip.Failure) -> Int {
    while self.waitingBits < count {
      self.waiting |= UInt32(try self.byte()) << UInt32(self.waitingBits)
      self.waitingBits += 8
    }
    defer {
      self.waiting >>= UInt32(count)
      self.waitingBits -= count
    }
    return Int(self.waiting & (1 << UInt32(count) - 1))
  }

  /// Forgets the bits up to the next whole byte: what follows is bytes.
  mutating func align() {
    self.waiting = 0
    self.waitingBits = 0
  }

  mutating func byte() throws(Gzip.Failure) -> UInt8 {
    guard self.position < self.bytes.count else { throw .malformed("it ends too early") }
    defer { self.position += 1 }
    return self.bytes[self.position]
  }

  mutating func take(_ count: Int) throws(Gzip.Failure) -> UnsafeRawBufferPointer {
    guard self.bytes.count - self.position >= count else { throw .malformed("it ends too early") }
    defer { self.position += count }
    return UnsafeRawBufferPointer(rebasing: self.bytes[self.position..<self.position + count])
  }

  /// A number with its lowest byte first.
  mutating func number(bytes count: Int) throws(Gzip.Failure) -> UInt32 {
    try self.take(count).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }
}

/// A Huffman code by the lengths of its words alone (RFC 1951, section 3.2.2).
private struct Code {
  /// How many words have a length, and the symbols in the order of their words.
  private var counts = [Int](repeating: 0, count: 16)
  private var symbols: [UInt16]

  init(lengths: some Collection<UInt8>) throws(Gzip.Failure) {
    self.symbols = [UInt16](repeating: 0, count: lengths.count)
    for length in lengths { self.counts[Int(length)] += 1 }
    self.counts[0] = 0
    var (free, next) = (1, [Int](repeating: 0, count: 16))
    for length in 1..<16 {
      free = free * 2 - self.counts[length]
      guard free >= 0 else { throw .malformed("a code has more words than there are") }
      if length < 15 { next[length + 1] = next[length] + self.counts[length] }
    }
    for (symbol, length) in lengths.enumerated() where length > 0 {
      self.symbols[next[Int(length)]] = UInt16(symbol)
      next[Int(length)] += 1
    }
  }

  func symbol(from input: inout BitReader) throws(Gzip.Failure) -> Int {
    // The words of a length are consecutive numbers, behind twice those of the length before.
    var (word, first, index) = (0, 0, 0)
    for length in 1..<16 {
      word |= try input.bits(1)
      let count = self.counts[length]
      if word - first < count { return Int(self.symbols[index + word - first]) }
      index += count
      first = (first + count) << 1
      word <<= 1
    }
    throw .malformed("a word is in no code")
  }
}

private struct Inflating {
  var input: BitReader
  private(set) var output: [UInt8] = []
  private let limitBytes: Int

  init(_ input: BitReader, limitBytes: Int) {
    self.input = input
    self.limitBytes = limitBytes
  }

  mutating func run() throws(Gzip.Failure) {
    var isLast = false
    while !isLast {
      isLast = try self.input.bits(1) == 1
      switch try self.input.bits(2) {
      case 0: try self.stored()
      case 1: try self.compressed(Self.fixedLiterals, Self.fixedDistances)
      case 2:
        let (literals, distances) = try self.codes()
        try self.compressed(literals, distances)
      default: throw .malformed("a block is of no known kind")
      }
    }
    self.input.align()
  }

  private mutating func stored() throws(Gzip.Failure) {
    self.input.align()
    let length = try self.input.number(bytes: 2)
    guard try self.input.number(bytes: 2) == ~length & 0xFFFF else { throw .malformed("a length is not what it says") }
    let bytes = try self.input.take(Int(length))
    guard self.output.count + bytes.count <= self.limitBytes else { throw .tooLarge }
    self.output.append(contentsOf: bytes)
  }

  private mutating func compressed(_ literals: Code, _ distances: Code) throws(Gzip.Failure) {
    while true {
      let symbol = try literals.symbol(from: &self.input)
      if symbol == 256 { return }
      if symbol < 256 {
        guard self.output.count < self.limitBytes else { throw .tooLarge }
        self.output.append(UInt8(symbol))
        continue
      }
      guard symbol - 257 < Self.lengths.count else { throw .malformed("a length is of no known kind") }
      let (base, more) = Self.lengths[symbol - 257]
      let length = base + (try self.input.bits(more))
      let far = try distances.symbol(from: &self.input)
      guard far < Self.distances.count else { throw .malformed("a distance is of no known kind") }
      let distance = Self.distances[far].base + (try self.input.bits(Self.distances[far].more))
      guard distance <= self.output.count else { throw .malformed("a distance leads before the beginning") }
      guard self.output.count + length <= self.limitBytes else { throw .tooLarge }
      // What is copied may reach into the copy itself.
      for _ in 0..<length { self.output.append(self.output[self.output.count - distance]) }
    }
  }

  /// The two codes at the head of a block, themselves in a code (section 3.2.7).
  private mutating func codes() throws(Gzip.Failure) -> (Code, Code) {
    let literals = try self.input.bits(5) + 257
    let distances = try self.input.bits(5) + 1
    let count = try self.input.bits(4) + 4
    guard literals <= 286, distances <= 30 else { throw .malformed("a code has too many words") }
    var lengths = [UInt8](repeating: 0, count: 19)
    for place in Self.order.prefix(count) { lengths[place] = UInt8(try self.input.bits(3)) }
    let code = try Code(lengths: lengths)
    lengths = []
    while lengths.count < literals + distances {
      let symbol = try code.symbol(from: &self.input)
      switch symbol {
      case 16:
        guard let last = lengths.last else { throw .malformed("a length repeats none") }
        lengths += [UInt8](repeating: last, count: 3 + (try self.input.bits(2)))
      case 17: lengths += [UInt8](repeating: 0, count: 3 + (try self.input.bits(3)))
      case 18: lengths += [UInt8](repeating: 0, count: 11 + (try self.input.bits(7)))
      default: lengths.append(UInt8(symbol))
      }
    }
    guard lengths.count == literals + distances else { throw .malformed("a code has too many words") }
    return (try Code(lengths: lengths[..<literals]), try Code(lengths: lengths[literals...]))
  }

  // MARK: What every block may rely on

  /// In which order the lengths of the code for codes come.
  private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  /// Of a symbol for a length or a distance: the least that it stands for, and how many bits say how much more it is.
  private static let lengths: [(base: Int, more: Int)] =
    (0..<28).map { symbol in
      let more = max(0, symbol / 4 - 1)
      return (symbol < 4 ? 3 + symbol : 3 + (4 + symbol % 4) << more, more)
    } + [(258, 0)]
  private static let distances: [(base: Int, more: Int)] = (0..<30).map { symbol in
    let more = max(0, symbol / 2 - 1)
    return (symbol < 2 ? 1 + symbol : 1 + (2 + symbol % 2) << more, more)
  }

  private static let fixedLiterals = fixed(
    [(8, 144), (9, 112), (7, 24), (8, 8)].flatMap { [UInt8](repeating: $0.0, count: $0.1) })
  private static let fixedDistances = fixed([UInt8](repeating: 5, count: 30))

  private static func fixed(_ lengths: [UInt8]) -> Code {
    guard let code = try? Code(lengths: lengths) else { preconditionFailure("the fixed codes are codes") }
    return code
  }
}
