// An answer whose body comes from a `ByteStream`.

import Hummingbird
import NIOCore

enum StreamingResponse {
  /// Waits for the first chunk. Where it is the only one, the answer has a length and is sent at once.
  static func make(_ stream: ByteStream, contentType: String) async -> Response {
    let headers: HTTPFields = [.contentType: contentType]
    switch await stream.next() {
    case .chunk(let first, let isLast):
      if isLast {
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: first)))
      }
      return Response(
        status: .ok, headers: headers,
        body: ResponseBody { writer in
          // Whoever runs the query must not wait for a connection that is gone.
          defer { stream.cut() }
          try await writer.write(ByteBuffer(bytes: first))
          while true {
            switch await stream.next() {
            case .chunk(let bytes, _): try await writer.write(ByteBuffer(bytes: bytes))
            case .end: return try await writer.finish(nil)
            // The answer is not whole: without its end, the connection's end tells the client.
            case .cut: throw CutAnswer()
            }
          }
        })
    case .end, .cut:
      return Response(status: .ok, headers: headers)
    }
  }

  private struct CutAnswer: Error {}
}
