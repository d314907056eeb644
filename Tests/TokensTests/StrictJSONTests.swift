// The strict JSON reader: what it takes, and what other readers take and it must not.

import Testing
import Tokens

private func parse(_ text: String) throws -> JSONValue { try StrictJSON.parse(Array(text.utf8)) }

@Suite("Strict JSON")
struct StrictJSONTests {
  @Test("values of every kind are read")
  func values() throws {
    let value = try parse(#" { "a" : [ 1, -2.5e1, true, false, null, "x\n\u00e9\ud83d\ude00\/" ] , "b":{} } "#)
    #expect(
      value["a"]
        == .array([.integer(1), .real(-25), .bool(true), .bool(false), .null, .string("x\n\u{e9}\u{1F600}/")]))
    #expect(value["b"] == .object([]))
    #expect(value["c"] == nil)
  }

  @Test(
    "integers are exact to the edges of signed 64 bits",
    arguments: [Int64.max, Int64.min, 9_007_199_254_740_993, 0, -1])
  func integers(number: Int64) throws {
    #expect(try parse(String(number)) == .integer(number))
  }

  @Test(
    "what other readers round, repair or pick from is refused",
    arguments: [
      "9223372036854775808", "-9223372036854775809", "1e999", #"{"a":1,"a":2}"#, #"{"a":1,"\u0061":2}"#, "01", "-",
      "1.", ".5", "+1", "1e", "tru", "nul", "", " ", "[1,]", "[1 2]", "{\"a\"}", "{a:1}", "{\"a\":1,}", "[", "{",
      "\"a", "\"\u{1}\"", #""\x""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, #""\u12g4""#, "1 1", "NaN",
      "Infinity", "[1]]", "'a'", "\u{FEFF}1",
    ])
  func refused(text: String) {
    #expect(throws: JSONError.self) { try parse(text) }
  }

  @Test("invalid UTF-8 is refused")
  func invalidUTF8() {
    #expect(throws: JSONError.self) { try StrictJSON.parse([0x22, 0xFF, 0x22]) }
    #expect(throws: JSONError.self) { try StrictJSON.parse([0x22, 0xC0, 0x80, 0x22]) }
  }

  @Test("nesting is bounded")
  func nesting() throws {
    let fits = StrictJSON.maximumDepth - 1
    #expect(throws: Never.self) {
      try parse(String(repeating: "[", count: fits) + "1" + String(repeating: "]", count: fits))
    }
    #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 100_000)) }
  }

  @Test("what is written as a string is read back as the same string")
  func roundTrip() throws {
    for text in ["", "a\"b\\c/", "\u{0}\u{1}\u{1f}\n\r\t", "gr\u{fc}\u{df} \u{1F600}", "</script>"] {
      var bytes: [UInt8] = []
      JSONText.append(text, to: &bytes)
      #expect(try StrictJSON.parse(bytes) == .string(text))
    }
  }
}

@Suite("Base64url")
struct Base64URLTests {
  @Test("the examples of RFC 4648, without padding")
  func examples() {
    let examples = [
      "": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy",
    ]
    for (plain, encoded) in examples {
      #expect(Base64URL.encode(plain.utf8) == encoded)
      #expect(Base64URL.decode(encoded.utf8) == Array(plain.utf8))
    }
    #expect(Base64URL.encode([0xFB, 0xFF] as [UInt8]) == "-_8")
  }

  @Test(
    "only one spelling is taken", arguments: ["Zh", "Zg==", "Zm9=", "Z", "Zm9v Yg", "+_8", "-/8", "Zm9vY", "Zm9vYh"])
  func canonical(text: String) {
    #expect(Base64URL.decode(text.utf8) == nil)
  }

  @Test("every byte string of two bytes is read back")
  func roundTrip() {
    for first in stride(from: 0, through: 255, by: 5) {
      for second in 0...255 {
        let bytes = [UInt8(first), UInt8(second)]
        #expect(Base64URL.decode(Base64URL.encode(bytes).utf8) == bytes)
      }
    }
  }
}
