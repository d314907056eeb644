// One method of the API with its messages as JSON: proto3's own JSON form, with the field names of the .proto files, 64-bit
// numbers as strings and bytes in base64, as etcd's gateway writes them.

package import NIOCore
import SwiftProtobuf
package import Wire

struct JSONMethod: Sendable {
  /// As on the wire of gRPC.
  let path: String
  /// The request as protobuf.
  let request: @Sendable (ByteBuffer) throws(RPCStatus) -> ByteBuffer
  /// An answer as JSON.
  let answer: @Sendable (ByteBuffer) throws(RPCStatus) -> ByteBuffer

  init<Request: SwiftProtobuf.Message, Answer: SwiftProtobuf.Message>(
    _ path: String, _: Request.Type, _: Answer.Type
  ) {
    self.path = path
    request = { json throws(RPCStatus) in
      do {
        // No body at all is an empty message.
        let message = json.readableBytes == 0 ? Request() : try Request(jsonUTF8Bytes: Array(json.readableBytesView))
        return ByteBuffer(bytes: try message.serializedBytes() as [UInt8])
      } catch {
        throw RPCStatus(.invalidArgument, "the body is no \(Request.protoMessageName) in JSON: \(error)")
      }
    }
    answer = { bytes throws(RPCStatus) in
      do {
        let json: [UInt8] = try Answer(received: bytes).jsonUTF8Bytes(options: Self.options)
        return ByteBuffer(bytes: json)
      } catch {
        throw RPCStatus(.internalError, "the answer cannot be written as JSON: \(error)")
      }
    }
  }

  private static let options: JSONEncodingOptions = {
    var options = JSONEncodingOptions()
    options.preserveProtoFieldNames = true
    return options
  }()
}

/// Cuts a body with one JSON object behind another, as a client of a stream sends them, into its objects.
package enum JSONObjects {
  /// - Throws: INVALID_ARGUMENT where there is something else than objects.
  package static func split(_ body: ByteBuffer) throws(RPCStatus) -> [ByteBuffer] {
    var objects: [ByteBuffer] = []
    var (depth, start, isInString, isEscaped) = (0, 0, false, false)
    for (offset, byte) in body.readableBytesView.enumerated() {
      if isInString {
        isInString = isEscaped || byte != quote
        isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
        continue
      }
      switch byte {
      case quote where depth > 0: isInString = true
      case UInt8(ascii: "{"):
        if depth == 0 { start = offset }
        depth += 1
      case UInt8(ascii: "}") where depth > 0:
        depth -= 1
        if depth == 0, let object = body.getSlice(at: body.readerIndex + start, length: offset - start + 1) {
          objects.append(object)
        }
      case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): break
      default: if depth == 0 { throw RPCStatus(.invalidArgument, "the body holds something else than JSON objects") }
      }
    }
    guard depth == 0 else { throw RPCStatus(.invalidArgument, "the body ends within a JSON object") }
    return objects
  }

  private static let quote = UInt8(ascii: "\"")
}
