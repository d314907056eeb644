// Tests of how endpoints are written.

import Testing
import Workloads

@Suite struct EndpointTests {
  @Test(
    "an endpoint is a host and a port, with or without what etcd's tools put around it",
    arguments: [
      ("127.0.0.1:2379", "127.0.0.1", 2_379),
      ("http://core-1.example:12379", "core-1.example", 12_379),
      ("http://core-1.example:12379/", "core-1.example", 12_379),
      ("localhost", "localhost", 2_379),
      ("[::1]:4001", "::1", 4_001),
      ("[::1]", "::1", 2_379),
      ("::1", "::1", 2_379),
    ])
  func accepted(text: String, host: String, port: Int) throws {
    let endpoint = try Endpoint(parsing: text)
    #expect(endpoint.host == host)
    #expect(endpoint.port == port)
  }

  @Test(
    "what is no endpoint is refused with what was seen",
    arguments: [
      "", ":2379", "host:", "host:0", "host:65536", "host:port", "https://", "https:host", "http://host/path:1",
      "a b:1",
      "[::1]x",
    ])
  func refused(text: String) {
    let error = #expect(throws: WorkloadError.self) { try Endpoint(parsing: text) }
    #expect(error?.code == .badOptions)
    #expect(error?.message.contains("\"\(text)\"") == true)
  }

  @Test("an endpoint prints as it is written")
  func description() throws {
    #expect(try Endpoint(parsing: "http://a:1").description == "a:1")
    #expect(try Endpoint(parsing: "https://a:1").description == "https://a:1")
    #expect(try Endpoint(parsing: "[::1]:2").description == "[::1]:2")
  }
}
