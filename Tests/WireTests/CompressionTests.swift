// Messages that come compressed: with gzip as another program made it, cut, altered, or with something else.

import Foundation
import NIOCore
import NIOHTTP2
import Testing
import Wire

@Suite("Compressed messages", .timeLimit(.minutes(1)))
struct CompressionTests {
  /// What zlib made of `text`: with codes of its own, with the fixed ones, and by hand with none.
  enum Form: CaseIterable {
    case ownCodes
    case fixedCodes
    case stored

    static let text = (0..<40).map { "put key-\($0) value-\($0 * $0)\n" }.joined()

    var bytes: [UInt8] {
      get throws {
        switch self {
        case .ownCodes: Array(try #require(Data(base64Encoded: Form.dynamic)))
        case .fixedCodes: Array(try #require(Data(base64Encoded: Form.fixed)))
        case .stored: Form.storing(Form.text)
        }
      }
    }

    private static func storing(_ text: String) -> [UInt8] {
      let size = UInt16(text.utf8.count)
      var bytes: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 1]
      for number in [size, ~size] { bytes += [UInt8(number & 0xFF), UInt8(number >> 8)] }
      // The sum and the length are those at the end of the other forms.
      return bytes + text.utf8 + (Data(base64Encoded: dynamic)?.suffix(8) ?? Data())
    }

    private static let dynamic =
      "H4sIAAAAAAACA02SMQ7DMAwD974iHyhgSbZjP6dDpnbI0BTo79vBpLgSMsUTfV7v7Xl872X7PF7XcS+3cym2FKPiS6lUYimTSsWr"
      + "TqktyRulvqTIqR3m6TWW1HPhXNLIVIboViQ807tMAsBqOlowcW42YsxMaAQREuukk0nA+BBP4ITL9slLyJ1BVIXIQVSrTLKSkZ4O"
      + "oua53UHU9szpIOpC5CDqOgmiXT1BtOt2ViQ5A0RTiAJEU9iDHRU5U7CkIhcNtmRy/GisXqiiU5VKA1gW0n6M/CeSAWDW/n/qB/+T"
      + "WTM4AwAA"
    private static let fixed =
      "H4sIAAAAAAACAysoLVHITq3UNVAoS8wpTdU14CqAihhCRQzhIkZQERO4iDFUxBIuYgLTZQYXMoUKGZnChcygQsYIVeYwwxFmWUCF"
      + "zBAWWkKFLBCuMoQ53dAAyfFw1xshqYR5wNAEYaKhMdzFCJsN4d6wRLjQEO4RJJ8YmsF9h6QS5hkjCyQzYd4xNkKy3RIeEkjhDPOR"
      + "CZKPjGA+MjFBUgmPEguEmUYwH5kaIWw3gvnI1BzhTiOYj8yQfGQE85EZskqYj8yRzYT5yBzZdngUIbnTGOYjSyQfGcN8ZInkd2N4"
      + "HBkgBZMxPJIMkELUGB5LhkiBb2wKj3okXxmbwUWRotQY5i1DY6TYN7ZApBMkN8A8ZmgKTFMA/5NZMzgDAAA="
  }

  /// Sends compressed messages to a server that answers each with itself.
  private func withEcho(_ body: (inout Echo) async throws -> Void) async throws {
    try await withServer { server in
      var echo = Echo(client: try await RawHTTP2Client.connect(port: server.port))
      defer { echo.client.close() }
      try await body(&echo)
    }
  }

  private struct Echo {
    let client: RawHTTP2Client
    private var streamID = HTTP2StreamID(1)

    init(client: RawHTTP2Client) { self.client = client }

    mutating func answer(
      to bytes: [UInt8], encoding: String?
    ) async throws -> (data: ByteBuffer, status: String?, message: String?) {
      let stream = streamID
      streamID = streamID.advanced(by: 2)
      try await client.open(TestPath.echo, on: stream, encoding: encoding)
      try await client.sendData(RawHTTP2Client.framed(bytes, isCompressed: true), on: stream, isEnd: true)
      let answer = try await client.answer(on: stream)
      func trailer(_ name: String) -> String? { answer.trailers.first { $0.name == name }?.value }
      return (answer.data, trailer("grpc-status"), trailer("grpc-message"))
    }

    mutating func status(of bytes: [UInt8], encoding: String? = "gzip") async throws -> String? {
      try await answer(to: bytes, encoding: encoding).status
    }
  }

  @Test("gzip is read, and answered uncompressed", arguments: Form.allCases)
  func gzip(form: Form) async throws {
    try await withEcho { echo in
      let answer = try await echo.answer(to: try form.bytes, encoding: "gzip")
      #expect(answer.status == "0" && answer.data == RawHTTP2Client.framed(Form.text))
    }
  }

  @Test("What is cut or altered is refused", arguments: Form.allCases)
  func damaged(form: Form) async throws {
    let whole = try form.bytes
    try await withEcho { echo in
      for length in stride(from: 0, to: whole.count, by: whole.count / 7) {
        let status = try await echo.status(of: Array(whole[..<length]))
        #expect(status == "13", "cut after \(length)")
      }
      for place in stride(from: 11, to: whole.count, by: whole.count / 7) {
        var altered = whole
        altered[place] ^= 0x10
        let status = try await echo.status(of: altered)
        #expect(status == "13", "altered at \(place)")
      }
      let status = try await echo.status(of: whole + [0])
      #expect(status == "13", "something behind it")
    }
  }

  @Test("What would be larger than a message may be is not made")
  func bomb() async throws {
    // A stored zero, and over and over 258 of what was last, for each of which the fixed codes need 13 bits.
    var bits = BitWriter()
    bits.write(0b010, 3)
    for _ in 0..<10_000 {
      bits.write(0b1010_0011, 8)
      bits.write(0, 5)
    }
    let message: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255, 0, 1, 0, 0xFE, 0xFF, 0] + bits.bytes
    try await withEcho { echo in
      let status = try await echo.status(of: message)
      #expect(status == "8")
    }
  }

  @Test("What cannot be read is not implemented, and a message that says too little is an error")
  func others() async throws {
    try await withEcho { echo in
      let deflate = try await echo.answer(to: [1, 2, 3], encoding: "deflate")
      #expect(deflate.status == "12")
      #expect(deflate.message == "grpc: Decompressor is not installed for grpc-encoding \"deflate\"")
      for encoding in [nil, "identity"] {
        let status = try await echo.status(of: [1, 2, 3], encoding: encoding)
        #expect(status == "13")
      }
    }
  }
}

/// Bits, the lowest of each byte first.
private struct BitWriter {
  private(set) var bytes: [UInt8] = []
  private var used = 8

  mutating func write(_ value: Int, _ count: Int) {
    for place in 0..<count {
      if used == 8 {
        bytes.append(0)
        used = 0
      }
      bytes[bytes.count - 1] |= UInt8((value >> place) & 1) << UInt8(used)
      used += 1
    }
  }
}
