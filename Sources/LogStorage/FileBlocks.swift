// Owns taking blocks ahead for the files of others: whoever measures a disk needs the call that Swift's view of the C
// library leaves out, and this is the room that may call C.

import CLMDB
import Glibc

package enum FileBlocks {
  /// Takes blocks for the first `bytes` of a file without writing them and without changing its length.
  /// - Returns: 0, or the error that the system gave.
  package static func reserve(descriptor: Int32, bytes: Int) -> Int32 {
    while portcullis_reserve_blocks(descriptor, 0, Int64(bytes)) != 0 {
      guard errno == EINTR else { return errno }
    }
    return 0
  }
}
