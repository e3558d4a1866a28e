"""The traits of Douyin, Pinduoduo, TikTok Shop, WooCommerce, Amazon, 旺店通 and Superstore exports.

One export a platform, with an order a trait; what must come of each stands beside it, computed by hand. People,
numbers and goods are invented.
"""

# ruff: noqa: E501 (a row of a table is a line)

from decimal import Decimal
from pathlib import Path

import pytest

from rfm_pipeline.errors import ShopFileError
from rfm_pipeline.ingest.loading import LoadReport, load_new_files, update_order_lines
from rfm_pipeline.ingest.presets import guess_presets, load_preset
from rfm_pipeline.shop import Shop
from rfm_pipeline_tests.helpers import make_shop, small_warehouse

DOUYIN = """\
主订单编号,子订单编号,选购商品,商品规格,商品数量,商家编码,订单应付金额,运费,收件人,收件人手机号,详细地址,订单提交时间,商家备注,订单完成时间,订单状态,售后状态,取消原因,发货时间
"\t1001","\t1001","\t豆腐",\t1袋,2,"\tTOFU",28.90,0.00,##aGk3kq8==##,$$c2Vjcm0x$$,##Kd83hY==##,2026-03-22 00:54:10,-,2026-03-25 10:00:00,已完成,-,,2026-03-22 12:00:00
"\t1002","\t1002","\t豆腐",\t1袋,1,"\tTOFU",20.00,0.00,密文,##密文,##Kd83hY==##,2026-03-23 10:00:00,-,-,已关闭,退款成功,不想要,-
"\t1003","\t1003","\t豆腐",\t1袋,1,"\tTOFU",15.90,0.00,张**,1**********,##Kd83hY==##,2026-03-24 10:00:00,-,-,待支付,-,,-
"\t1004","\t1004","\t豆腐",\t1袋,1,"\tTOFU",15.90,0.00,张**,1**********,##Kd83hY==##,2026-03-24 11:00:00,-,-,已关闭,-,超时未支付,-
"\t1005","\t1005a","\t豆干",\t1袋,1,-,35.00,5.00,张**,1**********,##Kd83hY==##,2026-03-25 10:00:00,-,-,待发货,待商家处理,,-
"\t1005","\t1005b","\t赠品 筷子",\t1双,1,"\tCHOP",0.00,0.00,张**,1**********,##Kd83hY==##,2026-03-25 10:00:00,-,-,待发货,-,,-
"\t1006","\t1006","\t邮费补差价",\t1,1,"\tPOSTFEE",6.00,0.00,张**,17200000001-4321,##Kd83hY==##,2026/3/26 9:03,-,-,已发货,-,,-
"\t1007","\t1007","\t豆腐",\t1袋,1,"\tTOFU",12.00,0.00,李四,13800000007,某路,2026-03-27 09:00:00,-,-,已发货,退款成功,,-
"""
PINDUODUO = """\
商品,订单号,订单状态,商品总价(元),邮费(元),店铺优惠折扣(元),平台优惠折扣(元),用户实付金额(元),商家实收金额(元),商品数量(件),支付时间,确认收货时间,商品id,商品规格,样式ID,商家编码-规格维度,商家编码-商品维度,售后状态,订单成交时间,收货人,用户购买手机号
茶杯,260517-000000000000001,"已发货，待签收",40.00,0.00,5.00,3.00,32.00,35.00,2,2026-05-17 10:00:30,\t,901,白,801,CUP-W,CUP,无售后或售后取消,2026-05-17 10:00:00,张**,\t
茶杯,260518-000000000000002,已收货,20.00,6.00,0.00,0.00,26.00,26.00,1,2026-05-18 10:00:30,2026-05-20 08:00:00,901,白,801,CUP-W,CUP,无售后或售后取消,\t,张**,\t
托盘,260519-000000000000003,待发货,30.00,0.00,0.00,0.00,30.00,30.00,1,\t,\t,902,原木,802,\t,TRAY,无售后或售后取消,\t,张**,\t
托盘,260519-000000000000004,"已发货，退款成功",30.00,0.00,0.00,0.00,30.00,30.00,1,2026-05-19 11:00:00,\t,902,原木,802,TRAY-1,TRAY,退款成功,2026-05-19 11:00:00,张**,\t
托盘,260519-000000000000005,已取消,30.00,0.00,0.00,0.00,30.00,30.00,1,\t,\t,902,原木,802,TRAY-1,TRAY,无售后或售后取消,2026-05-19 12:00:00,张**,\t
托盘,260519-000000000000006,已取消,30.00,0.00,0.00,0.00,30.00,30.00,1,2026-05-19 13:00:00,\t,902,原木,802,TRAY-1,TRAY,平台处理，退款成功,2026-05-19 13:00:00,张**,\t
补差价链接,260520-000000000000007,已签收,3.00,0.00,0.00,0.00,3.00,3.00,3,2026-05-20 09:00:00,\t,903,1,803,DIFF,DIFF,无售后或售后取消,2026-05-20 09:00:00,张**,$X12$AgAAAAbcdefgh$1$$
托盘,260520-000000000000008,待支付,30.00,0.00,0.00,0.00,30.00,30.00,1,\t,\t,902,原木,802,TRAY-1,TRAY,无售后或售后取消,2026-05-20 12:00:00,张**,\t
"""
TIKTOK_SHOP = """\
Order ID,Order Status,Order Substatus,Cancelation/Return Type,Normal or Pre-order,SKU ID,Seller SKU,Product Name,Variation,Quantity,Sku Quantity of return,SKU Unit Original Price,SKU Subtotal Before Discount,SKU Platform Discount,SKU Seller Discount,SKU Subtotal After Discount,Shipping Fee After Discount,Original Shipping Fee,Payment platform discount,Taxes,Order Amount,Order Refund Amount,Created Time,Paid Time,Cancelled Time,Tracking ID,Buyer Username,Recipient,Phone #,Country,Payment Method
"5761\t",Completed,,,Normal,"1729\t",CUP-W,Cup,White,2,0,10.00,20.00,1.00,3.00,16.00,4.00,6.00,0.00,0.00,50.00,0.00,"25/05/2026 10:00:00\t","25/05/2026 10:00:30\t",\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"5761\t",Completed,,,Normal,"1730\t",TRAY,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,4.00,6.00,0.00,0.00,50.00,0.00,"25/05/2026 10:00:00\t","25/05/2026 10:00:30\t",\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"5762\t",Dikirim,,,Normal,"1730\t",,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,0.00,6.00,0.00,0.00,30.00,0.00,"01/06/2026 10:00:00\t",\t,\t,\t,bambu,B. Dewi,(+62)8***0002,ID,Cash on delivery
"5763\t",ยกเลิกแล้ว,,Cancel,Normal,"1730\t",TRAY,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,0.00,6.00,0.00,0.00,30.00,0.00,"02/06/2026 10:00:00\t",\t,"02/06/2026 12:00:00\t",\t,bambu,B. Dewi,(+62)8***0002,ID,Cash on delivery
"5764\t",Canceled,,Cancel,Normal,"1730\t",TRAY,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,0.00,6.00,0.00,0.00,30.00,30.00,"03/06/2026 10:00:00\t","03/06/2026 10:01:00\t","04/06/2026 12:00:00\t",\t,bambu,B. Dewi,(+62)8***0002,ID,Card
"5765\t",Completed,,Return/Refund,Normal,"1730\t",TRAY,Tray,,2,1,50.00,100.00,0.00,0.00,100.00,0.00,6.00,0.00,10.00,110.00,55.00,"05/06/2026 10:00:00\t","05/06/2026 10:01:00\t",\t,\t,j***n,J. Ng,(+65)9***0003,SG,Card
"5766\t",Completed,,Return/Refund,Normal,"1730\t",TRAY,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,4.00,4.00,0.00,0.00,34.00,4.00,"06/06/2026 10:00:00\t","06/06/2026 10:01:00\t",\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"5767\t",Delivered,,Return/Refund,Normal,"1730\t",TRAY,Tray,,1,1,30.00,30.00,0.00,0.00,30.00,4.00,4.00,2.00,0.00,32.00,32.00,"07/06/2026 10:00:00\t","07/06/2026 10:01:00\t",\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"5768\t",Unpaid,,,Normal,"1730\t",TRAY,Tray,,1,0,30.00,30.00,0.00,0.00,30.00,0.00,4.00,0.00,0.00,30.00,0.00,"08/06/2026 10:00:00\t",\t,\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"5769\t",To ship,,,Normal,"1731\t",GIFT,Free gift: sticker,,1,0,1.00,1.00,0.00,1.00,0.00,0.00,4.00,0.00,0.00,0.00,0.00,"09/06/2026 10:00:00\t","09/06/2026 10:01:00\t",\t,\t,tea.lover,A. Tan,(+65)9***0001,SG,Card
"""
WOOCOMMERCE = """\
"Order Number","Order Status","Order Date","First Name (Billing)","Email (Billing)","Phone (Billing)","Item #",SKU,Name,"Product Variation",Quantity,"Quantity (- Refund)","Item Cost","Order Line (w/o tax)","Order Line Tax","Order Line Total","Order Line Total Refunded","Order Line Total (- Refund)","Payment Method Title","Cart Discount Amount","Order Subtotal Amount","Order Tax Amount","Order Shipping Amount","Order Refund Amount","Order Total Amount","Order Total Tax Amount"
501,Completed,2026-05-01 10:00,Ann,Ann@Example.com,,1,CUP-W,Cup,White,2,2,10.00,18.00,3.60,18.00,0.00,18.00,Card,2.00,50.00,9.60,5.00,0.00,62.60,9.60
501,Completed,2026-05-01 10:00,Ann,Ann@Example.com,,2,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Card,2.00,50.00,9.60,5.00,0.00,62.60,9.60
502,Completed,2026-05-02 10:00,Bo,bo@example.com,,1,CUP-W,Cup,White,1,0,10.00,10.00,2.00,10.00,10.00,0.00,Card,0.00,40.00,8.00,5.00,17.00,53.00,8.00
502,Completed,2026-05-02 10:00,Bo,bo@example.com,,2,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Card,0.00,40.00,8.00,5.00,17.00,53.00,8.00
503,Processing,2026-05-03 10:00,Cy,,13800000003,1,,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Cash on delivery,0.00,30.00,6.00,0.00,18.00,36.00,6.00
504,On hold,2026-05-04 10:00,Di,di@example.com,,1,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Bank transfer,0.00,30.00,6.00,0.00,0.00,36.00,6.00
505,Refunded,2026-05-05 10:00,Di,di@example.com,,1,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Card,0.00,30.00,6.00,0.00,36.00,36.00,6.00
506,Cancelled,2026-05-06 10:00,Di,di@example.com,,1,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Card,0.00,30.00,6.00,0.00,0.00,36.00,6.00
507,Completed,2026-05-07 10:00,Di,di@example.com,,1,CARD,Gift card 50,,1,1,50.00,50.00,0.00,50.00,0.00,50.00,Card,0.00,50.00,0.00,0.00,0.00,50.00,0.00
508,wc-processing,2026-05-08T10:00:00+08:00,Di,di@example.com,,1,WRAP,Gift wrapping,,1,1,4.00,4.00,0.00,4.00,0.00,4.00,Card,0.00,4.00,0.00,0.00,0.00,4.00,0.00
509,Failed,2026-05-09 10:00,Di,di@example.com,,1,TRAY,Tray,,1,1,30.00,30.00,6.00,30.00,0.00,30.00,Card,0.00,30.00,6.00,0.00,0.00,36.00,6.00
"""
AMAZON = """\
amazon-order-id\tmerchant-order-id\tpurchase-date\tlast-updated-date\torder-status\tfulfillment-channel\tsales-channel\tproduct-name\tsku\tasin\titem-status\tquantity\tcurrency\titem-price\titem-tax\tshipping-price\tshipping-tax\tgift-wrap-price\titem-promotion-discount\tship-promotion-discount\tship-city\tship-country
111-01\t\t2026-05-01T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped\tAmazon\tAmazon.com\tCup\tCUP-W\tB01\tShipped\t2\tUSD\t20.00\t1.60\t5.00\t\t3.00\t4.00\t\tAustin\tUS
111-01\t\t2026-05-01T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped\tAmazon\tAmazon.com\tTray\t\tB02\tShipped\t1\tUSD\t30.00\t2.40\t\t\t\t\t\tAustin\tUS
111-01\t\t2026-05-01T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped\tAmazon\tAmazon.com\tMat\tMAT\tB03\tCancelled\t0\t\t\t\t\t\t\t\t\tAustin\tUS
111-02\t\t2026-05-02T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tPending\tAmazon\tAmazon.com\tTray\tTRAY\tB02\tUnshipped\t1\t\t\t\t\t\t\t\t\tAustin\tUS
111-03\t\t2026-05-03T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tCancelled\tAmazon\tAmazon.com\tTray\tTRAY\tB02\tCancelled\t0\t\t\t\t\t\t\t\t\tAustin\tUS
111-04\t\t2026-05-04T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped - Returned to Seller\tMerchant\tAmazon.com\tTray\tTRAY\tB02\tShipped\t1\tUSD\t30.00\t2.40\t\t\t\t\t\tAustin\tUS
111-05\t\t2026-05-05T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped\tAmazon\tAmazon.ca\tTray\tTRAY\tB02\tShipped\t1\tCAD\t40.00\t\t\t\t\t\t\tToronto\tCA
111-06\t\t2026-05-06T02:00:00+00:00\t2026-05-03T02:00:00+00:00\tShipped - Delivered to Buyer\tMerchant\tAmazon.com\tTray\tTRAY\tB02\tShipped\t1\tUSD\t30.00\t2.40\t\t\t\t30.00\t\tAustin\tUS
"""
WANGDIANTONG = """\
订单编号,店铺,订单来源,子单原始单号,订单状态,订单类型,订单退款状态,订单明细退款状态,交易时间,付款时间,发货时间,客户网名,收件人,收件人手机,邮费,应收金额,商家编码,货品编号,货品名称,规格名称,平台货品名称,下单数量,标价,货品总优惠,成交价,分摊后价格,分摊后总价,退款前支付金额,分摊邮费,赠品方式
="JY01",木之序,淘宝,3101,已完成,网店销售,无退款,未退款,2026-05-01 10:00:00,2026-05-01 10:00:30,2026-05-02 10:00:00,青岚,张**,="13800000001",8.00,108.00,CUP-W,CUP,茶杯,白,茶杯 白,2,40.00,5.00,35.00,32.50,65.00,65.00,5.20,非赠品
="JY01",木之序,淘宝,3101,已完成,网店销售,无退款,未退款,2026-05-01 10:00:00,2026-05-01 10:00:30,2026-05-02 10:00:00,青岚,张**,="13800000001",8.00,108.00,TRAY,TRAY,托盘,原木,托盘,1,40.00,0.00,40.00,35.00,35.00,35.00,2.80,非赠品
="JY01",木之序,淘宝,3101,已完成,网店销售,无退款,未退款,2026-05-01 10:00:00,2026-05-01 10:00:30,2026-05-02 10:00:00,青岚,张**,="13800000001",8.00,108.00,CHOP,CHOP,赠品 筷子,,,1,0.00,0.00,0.00,0.00,0.00,0.00,0.00,自动赠送
="JY02",木之序,抖音,3102,已发货,网店销售,部分退款,退款成功,2026-05-02 10:00:00,2026-05-02 10:00:30,,竹影,张**,138****0002,0.00,60.00,CUP-W,CUP,茶杯,白,,1,40.00,0.00,40.00,0.00,0.00,25.00,0.00,非赠品
="JY02",木之序,抖音,3102,已发货,网店销售,部分退款,未退款,2026-05-02 10:00:00,2026-05-02 10:00:30,,竹影,张**,138****0002,0.00,60.00,TRAY,TRAY,托盘,原木,,1,40.00,0.00,40.00,35.00,35.00,35.00,0.00,非赠品
="JY03",木之序,京东,3103,已取消,网店销售,全部退款,退款成功,2026/5/3 10:00,2026/5/3 10:01,,松风,张**,138****0003,0.00,60.00,TRAY,TRAY,托盘,原木,,1,40.00,0.00,40.00,35.00,35.00,35.00,0.00,非赠品
="JY04",木之序,京东,3104,已取消,网店销售,无退款,未退款,2026-05-04 10:00:00,,,松风,张**,138****0003,0.00,60.00,TRAY,TRAY,托盘,原木,,1,40.00,0.00,40.00,35.00,35.00,0.00,0.00,非赠品
="JY05",木之序,京东,3105,未付款,网店销售,无退款,未退款,2026-05-05 10:00:00,,,松风,张**,138****0003,0.00,60.00,TRAY,TRAY,托盘,原木,,1,40.00,0.00,40.00,35.00,35.00,0.00,0.00,非赠品
="JY06",木之序,拼多多,3106,待客审,网店销售,无退款,未退款,2026-05-06 10:00:00,2026-05-06 10:01:00,,~AgAAAAbcd~efg~1~~,张**,$X12$AgAAAAbcdefgh$1$$,0.00,60.00,,TRAY,托盘,原木,,1,40.00,0.00,40.00,35.00,35.00,35.00,0.00,非赠品
"""
SUPERSTORE = """\
Row ID,Order ID,Order Date,Ship Date,Ship Mode,Customer ID,Customer Name,Segment,Country,City,State,Postal Code,Region,Product ID,Category,Sub-Category,Product Name,Sales,Quantity,Discount,Profit
1,CA-1,11/8/2026,11/11/2026,Second Class,CG-1,Ann Example,Consumer,United States,Austin,Texas,78701,South,FUR-1,Furniture,Chairs,Chair,731.9400,3,0,219.5820
2,CA-1,11/8/2026,11/11/2026,Second Class,CG-1,Ann Example,Consumer,United States,Austin,Texas,78701,South,OFF-2,Office Supplies,Labels,Labels,14.6200,2,0.2,6.8714
3,CA-2,6/12/2026,6/16/2026,Second Class,DV-2,Bo Example,Corporate,United States,Austin,Texas,78701,South,OFF-2,Office Supplies,Labels,Labels,"1,706.1840",9,0.2,85.3092
4,CA-3,6/14/2026,6/18/2026,Standard Class,DV-2,Bo Example,Corporate,United States,Austin,Texas,78701,South,OFF-3,Office Supplies,Binders,"Binder, 3"" ring",$2.5440,3,0.8,-3.8160
4,CA-3,6/14/2026,6/18/2026,Standard Class,DV-2,Bo Example,Corporate,United States,Austin,Texas,78701,South,OFF-3,Office Supplies,Binders,"Binder, 3"" ring",$2.5440,3,0.8,-3.8160
"""

# order, customer, time, SKU, pieces, price, paid, given back, whether a product
LINES = {
    "douyin": """
1001 | | 2026-03-22 00:54:10 | TOFU | 2 | 14.45 | 28.90 | 0.00 | yes
1002 | | 2026-03-23 10:00:00 | TOFU | 1 | 20.00 | 20.00 | 20.00 | yes
1005 | | 2026-03-25 10:00:00 | 豆干 | 1 | 30.00 | 30.00 | 0.00 | yes
1005 | | 2026-03-25 10:00:00 | CHOP | 1 | 0.00 | 0.00 | 0.00 | no
1006 | | 2026-03-26 09:03:00 | POSTFEE | 1 | 6.00 | 6.00 | 0.00 | no
1007 | 13800000007 | 2026-03-27 09:00:00 | TOFU | 1 | 12.00 | 12.00 | 12.00 | yes
""",
    "pinduoduo": """
260517-000000000000001 | | 2026-05-17 10:00:00 | CUP-W | 2 | 20.00 | 32.00 | 0.00 | yes
260518-000000000000002 | | 2026-05-18 10:00:30 | CUP-W | 1 | 20.00 | 20.00 | 0.00 | yes
260519-000000000000003 | | 2026-05-19 00:00:00 | TRAY | 1 | 30.00 | 30.00 | 0.00 | yes
260519-000000000000004 | | 2026-05-19 11:00:00 | TRAY-1 | 1 | 30.00 | 30.00 | 30.00 | yes
260519-000000000000006 | | 2026-05-19 13:00:00 | TRAY-1 | 1 | 30.00 | 30.00 | 30.00 | yes
260520-000000000000007 | | 2026-05-20 09:00:00 | DIFF | 3 | 1.00 | 3.00 | 0.00 | no
""",
    "tiktok_shop": """
5761 | tea.lover | 2026-05-25 10:00:00 | CUP-W | 2 | 10.00 | 16.00 | 0.00 | yes
5761 | tea.lover | 2026-05-25 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 0.00 | yes
5762 | bambu | 2026-06-01 10:00:00 | 1730 | 1 | 30.00 | 30.00 | 0.00 | yes
5764 | bambu | 2026-06-03 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 30.00 | yes
5765 | | 2026-06-05 10:00:00 | TRAY | 2 | 50.00 | 100.00 | 50.00 | yes
5766 | tea.lover | 2026-06-06 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 0.00 | yes
5767 | tea.lover | 2026-06-07 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 30.00 | yes
5769 | tea.lover | 2026-06-09 10:00:00 | GIFT | 1 | 1.00 | 0.00 | 0.00 | no
""",
    "woocommerce": """
501 | ann@example.com | 2026-05-01 10:00:00 | CUP-W | 2 | 10.00 | 18.00 | 0.00 | yes
501 | ann@example.com | 2026-05-01 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 0.00 | yes
502 | bo@example.com | 2026-05-02 10:00:00 | CUP-W | 1 | 10.00 | 10.00 | 10.00 | yes
502 | bo@example.com | 2026-05-02 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 0.00 | yes
503 | 13800000003 | 2026-05-03 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 15.00 | yes
505 | di@example.com | 2026-05-05 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 30.00 | yes
507 | di@example.com | 2026-05-07 10:00:00 | CARD | 1 | 50.00 | 0.00 | 0.00 | no
508 | di@example.com | 2026-05-08 10:00:00 | WRAP | 1 | 4.00 | 4.00 | 0.00 | no
""",
    "amazon": """
111-01 | | 2026-05-01 10:00:00 | CUP-W | 2 | 10.00 | 16.00 | 0.00 | yes
111-01 | | 2026-05-01 10:00:00 | B02 | 1 | 30.00 | 30.00 | 0.00 | yes
111-04 | | 2026-05-04 10:00:00 | TRAY | 1 | 30.00 | 30.00 | 30.00 | yes
111-06 | | 2026-05-06 10:00:00 | TRAY | 1 | 30.00 | 0.00 | 0.00 | no
""",
    "wangdiantong": """
JY01 | 13800000001 | 2026-05-01 10:00:00 | CUP-W | 2 | 35.00 | 65.00 | 0.00 | yes
JY01 | 13800000001 | 2026-05-01 10:00:00 | TRAY | 1 | 40.00 | 35.00 | 0.00 | yes
JY01 | 13800000001 | 2026-05-01 10:00:00 | CHOP | 1 | 0.00 | 0.00 | 0.00 | no
JY02 | 竹影 | 2026-05-02 10:00:00 | CUP-W | 1 | 40.00 | 25.00 | 25.00 | yes
JY02 | 竹影 | 2026-05-02 10:00:00 | TRAY | 1 | 40.00 | 35.00 | 0.00 | yes
JY03 | 松风 | 2026-05-03 10:00:00 | TRAY | 1 | 40.00 | 35.00 | 35.00 | yes
JY06 | | 2026-05-06 10:00:00 | TRAY | 1 | 40.00 | 35.00 | 0.00 | yes
""",
    "superstore": """
CA-1 | CG-1 | 2026-11-08 00:00:00 | FUR-1 | 3 | 243.98 | 731.94 | 0.00 | yes
CA-1 | CG-1 | 2026-11-08 00:00:00 | OFF-2 | 2 | 7.31 | 14.62 | 0.00 | yes
CA-2 | DV-2 | 2026-06-12 00:00:00 | OFF-2 | 9 | 189.576 | 1706.184 | 0.00 | yes
CA-3 | DV-2 | 2026-06-14 00:00:00 | OFF-3 | 3 | 0.848 | 2.544 | 0.00 | yes
CA-3 | DV-2 | 2026-06-14 00:00:00 | OFF-3 | 3 | 0.848 | 2.544 | 0.00 | yes
""",
}
# text, accepted, unpaid and rejected rows, customer keys that were masked
EXPORTS = {
    "douyin": (DOUYIN, 6, 2, 0, 5),
    "pinduoduo": (PINDUODUO, 6, 2, 0, 1),
    "tiktok_shop": (TIKTOK_SHOP, 8, 2, 0, 1),
    "woocommerce": (WOOCOMMERCE, 8, 3, 0, 0),
    "amazon": (AMAZON, 4, 3, 1, 0),
    "wangdiantong": (WANGDIANTONG, 7, 2, 0, 4),
    "superstore": (SUPERSTORE, 5, 0, 0, 0),
}


def load(home: Path, text: str, preset: str) -> tuple[Shop, LoadReport]:
    shop = make_shop(home, orders={"preset": preset, "currency": "auto"})
    (shop.orders_dir / "orders.csv").write_text(text, "utf-8-sig")
    report = load_new_files(small_warehouse(shop), shop)
    update_order_lines(small_warehouse(shop), shop)
    return shop, report


def texts(shop: Shop) -> list[tuple[str, ...]]:
    rows = small_warehouse(shop).read(
        "select order_id, coalesce(customer_id, ''), ordered_at, sku, quantity, unit_price, amount, "
        "refunded_amount, is_product from order_lines order by order_id, line_no"
    )
    return [
        (
            *(str(value) for value in row[:4]),
            f"{row[4].normalize():f}",
            *(_money(value) for value in row[5:8]),
            "yes" if row[8] else "no",
        )
        for row in rows.iter_rows()
    ]


def _money(value: Decimal) -> str:
    cents = value.quantize(Decimal("0.01"))
    return f"{cents}" if cents == value else f"{value.normalize():f}"


@pytest.mark.parametrize("preset", EXPORTS)
def test_an_export_becomes_the_order_lines_that_it_says(tmp_path: Path, preset: str) -> None:
    text, *counts = EXPORTS[preset]
    shop, report = load(tmp_path, text, preset)
    expected = [tuple(cell.strip() for cell in row.split("|")) for row in LINES[preset].strip().splitlines()]
    assert texts(shop) == expected
    (batch,) = report.loaded
    names = ("rows_accepted", "rows_unpaid", "rows_rejected", "keys_masked")
    assert [batch[name] for name in names] == counts


@pytest.mark.parametrize("preset", EXPORTS)
def test_a_header_is_known_as_its_platforms(preset: str) -> None:
    text = EXPORTS[preset][0]
    header = text.splitlines()[0].split("\t" if preset == "amazon" else ",")
    best = guess_presets([name.strip('"') for name in header])[0]
    assert (best.preset.name, best.confidence) == (preset, "sure")


def test_a_closed_order_counts_as_given_back_when_it_was_cancelled(tmp_path: Path) -> None:
    shop, _ = load(tmp_path, TIKTOK_SHOP, "tiktok_shop")
    found = small_warehouse(shop).read("select refunded_at from order_lines where order_id = '5764'")
    assert str(found.item()) == "2026-06-04 12:00:00"


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("13/02/2026 08:05:00", "2026-02-13 08:05:00"),
        ("02/13/2026 08:05:00 AM", "2026-02-13 08:05:00"),
        ("02/13/2026 12:05:00 AM", "2026-02-13 00:05:00"),
        ("02/13/2026 08:05:00 PM", "2026-02-13 20:05:00"),
        ("2026-02-13 08:05:00", "2026-02-13 08:05:00"),
    ],
)
def test_tiktok_times_by_country(tmp_path: Path, created: str, expected: str) -> None:
    header, row, *_ = TIKTOK_SHOP.splitlines()
    text = (
        f"{header}\n{row.replace('25/05/2026 10:00:00', created).replace('25/05/2026 10:00:30', created)}\n"
    )
    shop, _ = load(tmp_path, text, "tiktok_shop")
    assert [row[2] for row in texts(shop)] == [expected]


@pytest.mark.parametrize("pattern", [r"^\d{6}-", r"^(\d\d)(\d\d)", "^("])
def test_a_pattern_of_days_needs_one_group(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "presets").mkdir()
    columns = "columns: {order_id: [a], amount: [b]}\nrequired: [order_id]\n"
    (tmp_path / "presets" / "mine.yaml").write_text(f"{columns}day_in_order_id: '{pattern}'\n", "utf-8")
    with pytest.raises(ShopFileError, match="day_in_order_id"):
        load_preset("mine", tmp_path)


# Taobao without 订单编号

TAOBAO = """\
买家会员名,支付单号,买家实际支付金额,总金额,退款金额,订单状态,宝贝总数量,宝贝种类,宝贝标题 ,订单付款时间 ,订单创建时间
青岚,="2016052321001001",59.90,59.90,0.00,交易成功,1,1,茶杯,2016/5/23 22:03,2016/5/23 22:02
竹影,'2016052321001002,80.00,100.00,20.00,交易成功,2,2,茶杯，托盘,2016/5/24 22:03,2016/5/24 22:02
松风,2016052321001003,0.00,30.00,0.00,"等待买家付款",1,1,托盘,,2016/5/24 23:02
松风,2016052321001004,0.00,30.00,0.00,交易关闭,1,1,托盘,2016/5/25 23:03,2016/5/25 23:02
松风,2.01605E+15,30.00,30.00,0.00,交易成功,1,1,托盘,2016/5/25 23:03,2016/5/25 23:02
"""


def test_the_payments_number_serves_where_a_taobao_list_has_no_order_number(tmp_path: Path) -> None:
    shop, report = load(tmp_path, TAOBAO, "taobao_orders")
    assert [(row[0], row[1], row[2], row[6], row[7]) for row in texts(shop)] == [
        ("2016052321001001", "青岚", "2016-05-23 22:02:00", "59.90", "0.00"),
        ("2016052321001002", "竹影", "2016-05-24 22:02:00", "50.00", "10.00"),
        ("2016052321001002", "竹影", "2016-05-24 22:02:00", "50.00", "10.00"),
        ("2016052321001004", "松风", "2016-05-25 23:02:00", "30.00", "30.00"),
    ]
    assert (report.loaded[0]["rows_unpaid"], report.loaded[0]["rows_rejected"]) == (1, 1)


def test_the_order_number_counts_where_both_stand_there(tmp_path: Path) -> None:
    rows = TAOBAO.splitlines()[:2]
    text = f"订单编号,{rows[0]}\n310001,{rows[1]}\n"
    shop, _ = load(tmp_path, text, "taobao_orders")
    assert [row[0] for row in texts(shop)] == ["310001"]
