// Runs libFuzzer on the decoder that is named by the environment, PORTCULLIS_DECODER. The arguments are libFuzzer's own.

import CLibFuzzer
import DecodersCore
import Glibc

let name = getenv("PORTCULLIS_DECODER").map { String(cString: $0) } ?? ""
guard let decoder = Decoder.core.first(where: { $0.name == name }) else {
  print("PORTCULLIS_DECODER is \"\(name)\"; there are: \(Decoder.core.map(\.name).joined(separator: " "))")
  exit(64)
}
let feed = decoder.feed

/// libFuzzer's runtime also links against the function by its usual name.
@_cdecl("LLVMFuzzerTestOneInput")
func oneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  feed([UInt8](UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &arguments, oneInput))
