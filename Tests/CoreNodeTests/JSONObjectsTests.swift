// A body with one JSON object behind another.

import CoreNode
import NIOCore
import Testing
import Wire

@Suite("JSON objects of a stream")
struct JSONObjectsTests {
  @Test("are told apart, whatever their strings hold")
  func objects() throws {
    let body = #" {"a":"}{\""}{"b":{"c":[1,{"d":"\\"}]}} \#n {} "#
    let parts = try JSONObjects.split(ByteBuffer(string: body)).map { String(buffer: $0) }
    #expect(parts == [#"{"a":"}{\""}"#, #"{"b":{"c":[1,{"d":"\\"}]}}"#, "{}"])
    #expect(try JSONObjects.split(ByteBuffer()).isEmpty)
  }

  @Test(
    "are refused where they have no end or something else stands between them",
    arguments: [
      "{", #"{"a":"}"#, "}", "[]", "{} x {}", #"{}"a""#, "null",
    ])
  func refused(body: String) {
    #expect {
      try JSONObjects.split(ByteBuffer(string: body))
    } throws: {
      ($0 as? RPCStatus)?.code == .invalidArgument
    }
  }
}
