// Replays what fuzzing found worth keeping: the smallest inputs that between them reach everything that any input reached.
// An input that traps ends the test run, which names the decoder that was at it.

import Glibc
import Testing

@Suite("Decoders take any bytes")
struct ReplayTests {
  private static let corpus = #filePath.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/Corpus"

  @Test("inputs that fuzzing kept", arguments: (Decoder.core + Decoder.network).map(\.name))
  func replay(name: String) throws {
    let decoder = try #require((Decoder.core + Decoder.network).first { $0.name == name })
    let inputs = Self.inputs(in: Self.corpus + "/" + name)
    #expect(inputs.count >= 5, "there is no corpus of \(name)")
    for input in inputs { decoder.feed(input) }
  }

  @Test(
    "the same inputs, each cut short and with a bit turned", arguments: (Decoder.core + Decoder.network).map(\.name))
  func mutated(name: String) throws {
    let decoder = try #require((Decoder.core + Decoder.network).first { $0.name == name })
    for input in Self.inputs(in: Self.corpus + "/" + name) where !input.isEmpty {
      decoder.feed(Array(input.dropLast()))
      decoder.feed(Array(input.prefix(input.count / 2)))
      var turned = input
      turned[input.count / 3] ^= 0x80
      decoder.feed(turned)
    }
  }

  private static func inputs(in path: String) -> [[UInt8]] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.filter { !$0.hasPrefix(".") }.sorted().compactMap { read(path + "/" + $0) }
  }

  private static func read(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return Array(bytes[..<count])
  }
}
