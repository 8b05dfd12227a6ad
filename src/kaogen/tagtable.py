"""The tags as tables: a row is a tag, in the order of the condition vector. Read by `kaogen.tags`.

Spelt as Danbooru spells them, with spaces for underscores.
"""

# name | group | Japanese | Chinese | Korean | aliases | implied tags (Danbooru's implications)
PAPER_TABLE = """
pink hair | hair colour | ピンク髪 | 粉发 | 분홍 머리 | 桃髪 |
blush | mouth and expression | 赤面 | 脸红 | 홍조 | blushing, 頬染め |
open mouth | mouth and expression | 開いた口 | 张嘴 | 벌린 입 | mouth open, 口を開ける |
hair ornament | hair accessories | 髪飾り | 发饰 | 머리 장식 | hair ornaments, hair accessory |
short hair | hair length and style | ショートヘア | 短发 | 짧은 머리 | 短髪 |
looking at viewer | gaze | カメラ目線 | 看向观众 | 정면 응시 | looking at camera |
flower | hair accessories | 花 | 花朵 | 꽃 | flowers |
aqua eyes | eye colour | 水色の目 | 水色眼睛 | 청록색 눈 | cyan eyes, 水色の瞳 |
long hair | hair length and style | ロングヘア | 长发 | 긴 머리 | 長髪 |
blue eyes | eye colour | 青い目 | 蓝眼 | 파란 눈 | 青い瞳 |
collarbone | body and clothes | 鎖骨 | 锁骨 | 쇄골 | collarbones |
school uniform | body and clothes | 学生服 | 校服 | 교복 | serafuku, 制服 |
green eyes | eye colour | 緑の目 | 绿眼 | 초록 눈 | 緑の瞳 |
braid | hair length and style | 三つ編み | 辫子 | 땋은 머리 | braids, braided hair |
hair clip | hair accessories | ヘアピン | 发夹 | 머리핀 | hairclip, hairpin |
red eyes | eye colour | 赤い目 | 红眼 | 빨간 눈 | 赤い瞳 |
blue hair | hair colour | 青髪 | 蓝发 | 파란 머리 |  |
ribbon | hair accessories | リボン | 缎带 | 리본 | ribbons |
bow | hair accessories | 蝶結び | 蝴蝶结 | 나비 리본 | bows |
hair ribbon | hair accessories | 髪リボン | 发带 | 머리 리본 |  | ribbon
pink eyes | eye colour | ピンクの目 | 粉眼 | 분홍 눈 | 桃色の目 |
silver hair | hair colour | 銀髪 | 银发 | 은발 | gray hair |
white hair | hair colour | 白髪 | 白发 | 흰 머리 |  |
red hair | hair colour | 赤髪 | 红发 | 빨간 머리 | redhead |
twin tails | hair length and style | ツインテール | 双马尾 | 양갈래 머리 | twintails, pigtails |
black hair | hair colour | 黒髪 | 黑发 | 검은 머리 |  |
tears | mouth and expression | 涙 | 眼泪 | 눈물 | tear, crying |
hair flower | hair accessories | 髪の花 | 头花 | 머리 꽃 |  | flower
smile | mouth and expression | 笑顔 | 微笑 | 미소 | smiling, 微笑み |
blonde hair | hair colour | 金髪 | 金发 | 금발 | blond hair, yellow hair, golden hair |
choker | accessories | チョーカー | 颈圈 | 초커 |  |
bare shoulders | body and clothes | 肩出し | 露肩 | 드러난 어깨 |  |
gloves | accessories | 手袋 | 手套 | 장갑 | glove |
hair bow | hair accessories | 髪の蝶結び | 头部蝴蝶结 | 머리 나비 리본 |  | bow
brown hair | hair colour | 茶髪 | 棕发 | 갈색 머리 |  |
brown eyes | eye colour | 茶色の目 | 棕眼 | 갈색 눈 | 茶色い目 |
yellow eyes | eye colour | 黄色の目 | 黄眼 | 노란 눈 | gold eyes, golden eyes, amber eyes |
orange hair | hair colour | オレンジ髪 | 橙发 | 주황 머리 |  |
animal ears | ears | 獣耳 | 兽耳 | 동물 귀 | kemonomimi, ケモミミ |
jewelry | accessories | アクセサリー | 首饰 | 장신구 | jewellery |
cleavage | body and clothes | 胸の谷間 | 乳沟 | 가슴골 |  |
bangs | hair length and style | 前髪 | 刘海 | 앞머리 | fringe |
pointy ears | ears | 尖った耳 | 尖耳 | 뾰족한 귀 | elf ears, pointed ears, エルフ耳 |
earrings | accessories | イヤリング | 耳环 | 귀걸이 | earring | jewelry
purple eyes | eye colour | 紫の目 | 紫眼 | 보라색 눈 | violet eyes, 紫の瞳 |
purple hair | hair colour | 紫髪 | 紫发 | 보라색 머리 | violet hair, lavender hair |
hairband | hair accessories | カチューシャ | 发箍 | 머리띠 | hair band |
green hair | hair colour | 緑髪 | 绿发 | 초록 머리 |  |
hat | hair accessories | 帽子 | 帽子 | 모자 |  |
cat ears | ears | 猫耳 | 猫耳 | 고양이 귀 | nekomimi, ネコミミ | animal ears
:d | mouth and expression | 大笑い | 开口笑 | 활짝 웃음 | open smile | open mouth, smile
glasses | accessories | 眼鏡 | 眼镜 | 안경 | eyeglasses, spectacles, megane, メガネ |
fang | mouth and expression | 八重歯 | 虎牙 | 덧니 | fangs |
lips | mouth and expression | 唇 | 嘴唇 | 입술 |  |
necktie | accessories | ネクタイ | 领带 | 넥타이 | tie |
black eyes | eye colour | 黒い目 | 黑眼 | 검은 눈 | 黒い瞳 |
ponytail | hair length and style | ポニーテール | 马尾 | 포니테일 | pony tail |
tongue | mouth and expression | 舌 | 舌头 | 혀 | tongue out |
blunt bangs | hair length and style | ぱっつん前髪 | 齐刘海 | 일자 앞머리 | ぱっつん | bangs
"""

# What taggers know beyond the paper; "bad" means: not one clear face.
EXTRA_TABLE = """
aqua hair | hair colour | 水色髪 | 水色头发 | 청록색 머리 | cyan hair, light blue hair |
gray hair | hair colour | 灰色の髪 | 灰发 | 회색 머리 |  |
orange eyes | eye colour | オレンジの目 | 橙眼 | 주황 눈 |  |
gray eyes | eye colour | 灰色の目 | 灰眼 | 회색 눈 | silver eyes |
bicolored eyes | eye colour | オッドアイ | 异色瞳 | 오드아이 | heterochromia, odd eyes |
closed eyes | mouth and expression | 閉じた目 | 闭眼 | 감은 눈 | eyes closed |
one eye closed | mouth and expression | ウインク | 眨眼 | 윙크 | wink |
male | body and clothes | 男性 | 男性 | 남성 | boy, 1boy, man |
bad |  | 不良画像 | 不良图像 | 불량 이미지 |  |
"""

# name | Japanese | Chinese | Korean | "one" when a face has one tag of it at most
GROUP_TABLE = """
hair colour | 髪の色 | 发色 | 머리색 | one
eye colour | 目の色 | 瞳色 | 눈 색 | one
hair length and style | 髪型 | 发型 | 머리 모양 |
hair accessories | 髪飾りと帽子 | 发饰与帽子 | 머리 장식과 모자 |
mouth and expression | 口と表情 | 嘴与表情 | 입과 표정 |
gaze | 視線 | 视线 | 시선 |
ears | 耳 | 耳朵 | 귀 |
accessories | アクセサリー | 配饰 | 액세서리 |
body and clothes | 体と服 | 身体与服装 | 몸과 옷 |
"""

# "teal hair" is a hair colour, "wavy hair" is not.
COLOUR_WORDS = """
amber aqua beige black blond blonde blue brown copper cream crimson cyan gold golden gray green
hazel indigo lavender lilac lime magenta maroon mint navy ocean orange peach pink platinum
purple red rose scarlet silver strawberry tan teal turquoise violet white yellow
"""
