// What comes over sockets: frames of peers, gRPC's framing, tokens, JSON and the gateway's requests.

import CoreNode
import Gateway
import NIOCore
import RaftCore
import Tokens
import Wire

// Beside the fuzzers these are two modules, since one of them takes minutes to build; among the tests they are one.
#if canImport(DecodersCore)
package import DecodersCore
#endif

extension Decoder {
  package static let network: [Decoder] = [
    Decoder("frames", feedFrames), Decoder("messages", feedMessages), Decoder("calls", feedCalls),
    Decoder("json", feedJSON), Decoder("tokens", feedTokens), Decoder("requests", feedRequests),
  ]
}

/// A connection's bytes as they come, frame after frame. The first may be an opening.
@Sendable func feedFrames(_ bytes: [UInt8]) {
  var buffer = ByteBuffer(bytes: bytes)
  while let body = try? PeerCodec.readFrame(from: &buffer) {
    _ = try? Opening.read(body)
    _ = try? PeerCodec.read(body)
  }
}

/// The same behind the sum: the bytes are one frame's body.
@Sendable func feedMessages(_ bytes: [UInt8]) {
  let body = ByteBuffer(bytes: bytes)
  _ = try? Opening.read(body)
  guard let message = try? PeerCodec.read(body) else { return }
  var again = ByteBuffer()
  PeerCodec.write(message, into: &again)
  guard let frame = try? PeerCodec.readFrame(from: &again), let second = try? PeerCodec.read(frame) else {
    preconditionFailure("an encoded message is refused")
  }
  precondition("\(second)" == "\(message)", "a message changes by encoding")
}

/// gRPC's framing, with the bytes in pieces of any size, and the deadline of a call.
@Sendable func feedCalls(_ bytes: [UInt8]) {
  var rest = bytes[...]
  let pieceBytes = 1 + Int(rest.popFirst() ?? 0)
  _ = RequestHead.timeout(String(decoding: rest.prefix(16), as: UTF8.self))
  var assembler = MessageAssembler(encoding: rest.count % 2 == 0 ? .gzip : .identity)
  while !rest.isEmpty {
    assembler.append(ByteBuffer(bytes: rest.prefix(pieceBytes)))
    rest = rest.dropFirst(pieceBytes)
    do {
      while let message = try assembler.next(limitBytes: 1 << 10) {
        precondition(message.readableBytes <= 1 << 10, "a message is beyond the limit")
      }
    } catch {
      return
    }
  }
}

@Sendable func feedJSON(_ bytes: [UInt8]) {
  _ = try? StrictJSON.parse(bytes)
}

/// Any text as a token, and behind its signature, any payload as claims.
@Sendable func feedTokens(_ bytes: [UInt8]) {
  _ = try? TokenText.split(String(decoding: bytes, as: UTF8.self))
  let header = Base64URL.encode(Array(#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#.utf8))
  let signature = Base64URL.encode([UInt8](repeating: 7, count: 64))
  let text = header + "." + Base64URL.encode(bytes) + "." + signature
  if text.utf8.count <= TokenText.maximumBytes {
    guard let parts = try? TokenText.split(text) else { preconditionFailure("a whole token cannot be taken apart") }
    precondition(parts.payload == bytes, "a payload changes by encoding")
    _ = try? TokenText.claims(payload: parts.payload, kid: parts.kid)
  }
}

@Sendable func feedRequests(_ bytes: [UInt8]) {
  _ = try? StatementReading.statements(body: bytes, limit: 64)
  let query = QueryItems(String(decoding: bytes, as: UTF8.self))
  _ = query.has("timings")
  _ = query.values("q")
}
